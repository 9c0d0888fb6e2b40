"""Models over gRPC."""

from agent import convert
from agent.domain.models import ModelCatalogue
from chassis.data.pagination import page_limit
from chassis.errors import PageTokenInvalid
from chassis.rpc.server import Context
from definable.agent.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse
from definable.agent.v1.model_service_pb2_grpc import ModelServiceServicer


class Models(ModelServiceServicer):
    """Implements ModelService."""

    def __init__(self, models: ModelCatalogue) -> None:
        self._models = models

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        specs = self._models.all()
        start, limit = _start(request.page_token), page_limit(request.page_size)
        page = specs[start : start + limit]
        is_last = start + limit >= len(specs)
        return ListModelsResponse(
            models=[convert.model(spec, is_default=spec is specs[0]) for spec in page],
            next_page_token="" if is_last else str(start + limit),
        )


def _start(page_token: str) -> int:
    if not page_token:
        return 0
    if not page_token.isascii() or not page_token.isdigit() or len(page_token) > 6:
        raise PageTokenInvalid
    return int(page_token)
