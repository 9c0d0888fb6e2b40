"""The kb service over gRPC."""

import asyncio
from collections.abc import Sequence

from agent.domain.definition import Retrieval
from agent.domain.passages import Hit
from chassis.errors import Code, FleetError
from chassis.rpc.client import Peers
from definable.kb.v1.knowledge_base_service_pb2 import GetKnowledgeBaseRequest
from definable.kb.v1.knowledge_base_service_pb2_grpc import KnowledgeBaseServiceStub
from definable.kb.v1.search_service_pb2 import (
    SEARCH_MODE_DENSE,
    SEARCH_MODE_HYBRID,
    SEARCH_MODE_LEXICAL,
    SearchHit,
    SearchKnowledgeBasesRequest,
)
from definable.kb.v1.search_service_pb2_grpc import SearchServiceStub

_MODES = {"dense": SEARCH_MODE_DENSE, "lexical": SEARCH_MODE_LEXICAL}


class KbGrpc:
    """domain.ports.Knowledge over the peer named "kb"."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def search(self, *, knowledge_base_ids: Sequence[str], query: str, retrieval: Retrieval) -> list[Hit]:
        reply = await self._peers.stub(SearchServiceStub, "kb").SearchKnowledgeBases(
            SearchKnowledgeBasesRequest(
                knowledge_base_ids=knowledge_base_ids,
                query=query,
                mode=_MODES.get(retrieval.mode, SEARCH_MODE_HYBRID),
                top_k=retrieval.passages,
            )
        )
        return [_hit(hit) for hit in reply.hits]

    async def unknown(self, knowledge_base_ids: Sequence[str]) -> set[str]:
        known = await asyncio.gather(*(self._is_known(base) for base in knowledge_base_ids))
        return {base for base, is_known in zip(knowledge_base_ids, known, strict=True) if not is_known}

    async def _is_known(self, knowledge_base_id: str) -> bool:
        try:
            stub = self._peers.stub(KnowledgeBaseServiceStub, "kb")
            await stub.GetKnowledgeBase(GetKnowledgeBaseRequest(id=knowledge_base_id))
        except FleetError as error:
            if error.code == Code.NOT_FOUND:
                return False
            raise
        return True


def _hit(hit: SearchHit) -> Hit:
    return Hit(
        knowledge_base_id=hit.knowledge_base_id,
        document_id=hit.document_id,
        chunk_id=hit.chunk_id,
        document_title=hit.document_title,
        version=hit.document_version,
        page=hit.page,
        start=hit.start,
        end=hit.end,
        text=hit.text,
        score=hit.score,
    )
