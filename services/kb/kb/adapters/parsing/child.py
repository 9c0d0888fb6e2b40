"""The child that parses one file: `python -I -m kb.adapters.parsing.child <type> <path> <limits as JSON>`.

It caps itself before it imports a parser, reads the file, writes one JSON object to its standard output and ends. A
parser that is led astray loses this process, which has no secret, no environment and cannot write a file.
"""

import importlib
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from kb.domain.errors import DocumentUnusable, FileCorrupt, ParseMemory, TextTooLarge, UnsupportedType
from kb.domain.media_types import DOCX, HTML, MARKDOWN, PDF, TEXT
from kb.domain.parsed import ParsedText

PARSERS = {
    TEXT: "kb.adapters.parsing.plain",
    MARKDOWN: "kb.adapters.parsing.markdown",
    HTML: "kb.adapters.parsing.html",
    PDF: "kb.adapters.parsing.pdf",
    DOCX: "kb.adapters.parsing.docx",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one parse may use."""

    cpu_seconds: int
    memory_bytes: int
    text_characters: int


def main(media_type: str, path: str, limits_json: str) -> int:
    """Parse one file under limits and print the outcome. Never raises, so no trace of a document is printed."""
    limits = Limits(**json.loads(limits_json))
    confine(limits)
    outcome = _outcome(media_type, Path(path), limits)
    sys.stdout.buffer.write(json.dumps(outcome).encode())
    sys.stdout.buffer.flush()
    return 0


def confine(limits: Limits) -> None:
    """Cap this process for good: memory, processor time, files, core dumps."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _outcome(media_type: str, path: Path, limits: Limits) -> dict[str, object]:
    try:
        parsed = _parser(media_type)(path.read_bytes())
        if len(parsed.text) > limits.text_characters:
            raise TextTooLarge(limit_characters=limits.text_characters)
    except DocumentUnusable as error:
        return {"failed": error.reason}
    except MemoryError:
        return {"failed": ParseMemory.reason}
    except Exception as error:  # noqa: BLE001 - parsers raise what they like on what they did not expect
        return {"failed": ParseMemory.reason if _is_out_of_memory(error, limits) else FileCorrupt.reason}
    return {
        "text": parsed.text,
        "page_starts": list(parsed.page_starts),
        "headings": [asdict(heading) for heading in parsed.headings],
    }


def _parser(media_type: str) -> Callable[[bytes], ParsedText]:
    if media_type not in PARSERS:
        raise UnsupportedType
    parse: Callable[[bytes], ParsedText] = importlib.import_module(PARSERS[media_type]).parse
    return parse


def _is_out_of_memory(error: Exception, limits: Limits) -> bool:
    # lxml reports a failed allocation as "unknown error", so failing with half of the memory in use means that.
    return "memory" in str(error).lower() or _peak_memory_bytes() > limits.memory_bytes // 2


def _peak_memory_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # Not on Linux: resident memory says less, but something.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmPeak:")[2].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
