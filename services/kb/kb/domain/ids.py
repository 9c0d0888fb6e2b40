"""The kinds of ids that kb gives out."""

from chassis.ids import IdKind, job_id

KNOWLEDGE_BASE = IdKind("kb")
FOLDER = IdKind("folder")
FILE = IdKind("file")
DOCUMENT = IdKind("doc")
CHUNK = IdKind("chunk")
JOB = job_id("kb")
