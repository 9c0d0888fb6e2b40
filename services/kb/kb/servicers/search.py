"""SearchService."""

from typing import Any

from definable.kb.v1 import search_service_pb2 as pb
from definable.kb.v1.search_service_pb2_grpc import SearchServiceServicer
from kb import convert
from kb.application.search import Query, SearchKnowledgeBases
from kb.domain import ids
from kb.domain.fusion import Mode

DEFAULT_TOP_K = 10

_MODES = {
    pb.SEARCH_MODE_UNSPECIFIED: Mode.HYBRID,
    pb.SEARCH_MODE_DENSE: Mode.DENSE,
    pb.SEARCH_MODE_LEXICAL: Mode.LEXICAL,
    pb.SEARCH_MODE_HYBRID: Mode.HYBRID,
}


class Search(SearchServiceServicer):
    """Serves searches."""

    def __init__(self, search: SearchKnowledgeBases) -> None:
        self._search = search

    async def SearchKnowledgeBases(
        self,
        request: pb.SearchKnowledgeBasesRequest,
        context: Any,  # Any: grpc's generic context
    ) -> pb.SearchKnowledgeBasesResponse:
        query = Query(
            knowledge_base_ids=[
                ids.KNOWLEDGE_BASE.parse(text, field="knowledge_base_ids") for text in request.knowledge_base_ids
            ],
            text=request.query,
            mode=_MODES[request.mode],
            top_k=request.top_k or DEFAULT_TOP_K,
            threshold=request.score_threshold if request.HasField("score_threshold") else None,
        )
        return pb.SearchKnowledgeBasesResponse(hits=[convert.hit(hit) for hit in await self._search(query)])
