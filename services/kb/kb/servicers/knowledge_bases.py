"""KnowledgeBaseService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from chassis.data.unit_of_work import Acquire
from chassis.errors import ValidationFailed, Violation
from chassis.rpc.masks import masked
from definable.kb.v1 import knowledge_base_service_pb2 as pb
from definable.kb.v1.knowledge_base_service_pb2_grpc import KnowledgeBaseServiceServicer
from kb import convert
from kb.application import knowledge_bases
from kb.domain import ids
from kb.domain.analysis import DEFAULT_LANGUAGE
from kb.domain.chunking import DEFAULT_OVERLAP_TOKENS, DEFAULT_SIZE_TOKENS, SMALLEST_SIZE_TOKENS, Chunking
from kb.repositories.resources import Counts, PageRequest
from kb.unit_of_work import KbUnitOfWork

Context = Any  # Any: grpc's generic context; nothing here looks into it


class KnowledgeBases(KnowledgeBaseServiceServicer):
    """Serves knowledge bases."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], *, embedding_model: str) -> None:
        self._acquire = acquire
        self._embedding_model = embedding_model

    async def CreateKnowledgeBase(self, request: pb.CreateKnowledgeBaseRequest, context: Context) -> pb.KnowledgeBase:
        asked = request.knowledge_base
        chunking = _chunking(asked.chunking)
        async with self._acquire() as work:
            base = await knowledge_bases.create(
                work,
                display_name=asked.display_name,
                description=asked.description,
                language=asked.language or DEFAULT_LANGUAGE,
                chunking=chunking,
                embedding_model=self._embedding_model,
            )
            return work.reply(convert.knowledge_base(base, Counts()))

    async def ListKnowledgeBases(
        self, request: pb.ListKnowledgeBasesRequest, context: Context
    ) -> pb.ListKnowledgeBasesResponse:
        wanted = PageRequest(request.page_size, request.page_token, request.order_by, request.query)
        async with self._acquire() as work:
            page, counts = await knowledge_bases.listed(work, wanted)
            return pb.ListKnowledgeBasesResponse(
                knowledge_bases=[convert.knowledge_base(base, counts[base.id]) for base in page.items],
                next_page_token=page.next_page_token,
            )

    async def GetKnowledgeBase(self, request: pb.GetKnowledgeBaseRequest, context: Context) -> pb.KnowledgeBase:
        knowledge_base_id = ids.KNOWLEDGE_BASE.parse(request.id)
        async with self._acquire() as work:
            base = await knowledge_bases.get(work, knowledge_base_id)
            return convert.knowledge_base(base, await knowledge_bases.counted(work, base))

    async def UpdateKnowledgeBase(self, request: pb.UpdateKnowledgeBaseRequest, context: Context) -> pb.KnowledgeBase:
        knowledge_base_id = ids.KNOWLEDGE_BASE.parse(request.knowledge_base.id, field="knowledge_base.id")
        changes = masked(request.knowledge_base, request.update_mask, allowed=("display_name", "description"))
        async with self._acquire() as work:
            base = await knowledge_bases.update(work, knowledge_base_id, changes)
            return work.reply(convert.knowledge_base(base, await knowledge_bases.counted(work, base)))

    async def DeleteKnowledgeBase(self, request: pb.DeleteKnowledgeBaseRequest, context: Context) -> Empty:
        knowledge_base_id = ids.KNOWLEDGE_BASE.parse(request.id)
        async with self._acquire() as work:
            await knowledge_bases.delete(work, knowledge_base_id)
            return work.reply(Empty())


def _chunking(asked: pb.Chunking) -> Chunking:
    size = asked.size_tokens or DEFAULT_SIZE_TOKENS
    if size < SMALLEST_SIZE_TOKENS:
        wrong = Violation(
            "knowledge_base.chunking.size_tokens", f"must be at least {SMALLEST_SIZE_TOKENS}", "int32.gte"
        )
        raise ValidationFailed([wrong])
    default_overlap = min(DEFAULT_OVERLAP_TOKENS, size // 4)
    return Chunking(size, asked.overlap_tokens if asked.HasField("overlap_tokens") else default_overlap)
