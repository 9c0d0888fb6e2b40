"""API keys."""

from collections.abc import Mapping
from datetime import UTC, datetime

from auth import convert
from auth.application import api_keys
from auth.application.issuer import KeyRing
from auth.application.sessions import CLOCK_ALLOWANCE
from auth.domain import ids
from auth.servicers.callers import principal
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.rpc.caller import current_caller
from chassis.rpc.masks import masked
from chassis.rpc.server import Context
from definable.auth.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    ListApiKeysRequest,
    ListApiKeysResponse,
    RevokeApiKeyRequest,
    UpdateApiKeyRequest,
)
from definable.auth.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer


class ApiKeys(ApiKeyServiceServicer):
    """ApiKeyService over the use cases."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork], keys: KeyRing, catalogue: Mapping[str, int]) -> None:
        self._acquire = acquire
        self._keys = keys
        self._catalogue = catalogue

    async def CreateApiKey(self, request: CreateApiKeyRequest, context: Context) -> CreateApiKeyResponse:
        caller, creator_id = principal()
        async with self._acquire() as work:
            key, secret = await api_keys.create(
                work,
                caller=caller,
                creator_id=creator_id,
                settings=convert.key_settings(request.api_key),
                end_user=request.api_key.end_user,
                pepper=self._keys.pepper,
                catalogue=self._catalogue,
            )
            return work.reply(CreateApiKeyResponse(api_key=convert.api_key(key), secret=secret))

    async def GetApiKey(self, request: GetApiKeyRequest, context: Context) -> ApiKey:
        key_id = ids.API_KEY.parse(request.id)
        async with self._acquire() as work:
            return convert.api_key(await api_keys.get(work, key_id))

    async def ListApiKeys(self, request: ListApiKeysRequest, context: Context) -> ListApiKeysResponse:
        async with self._acquire() as work:
            page = await api_keys.page(work, page_size=request.page_size, page_token=request.page_token)
            return ListApiKeysResponse(
                api_keys=[convert.api_key(key) for key in page.items], next_page_token=page.next_page_token
            )

    async def UpdateApiKey(self, request: UpdateApiKeyRequest, context: Context) -> ApiKey:
        key_id = ids.API_KEY.parse(request.api_key.id, field="api_key.id")
        changes = convert.key_changes(masked(request.api_key, request.update_mask, allowed=api_keys.UPDATABLE))
        async with self._acquire() as work:
            key = await api_keys.update(
                work, caller=current_caller(), key_id=key_id, changes=changes, catalogue=self._catalogue
            )
            return work.reply(convert.api_key(key))

    async def RevokeApiKey(self, request: RevokeApiKeyRequest, context: Context) -> ApiKey:
        key_id = ids.API_KEY.parse(request.id)
        async with self._acquire() as work:
            key = await api_keys.revoke(work, key_id, until=datetime.now(UTC) + CLOCK_ALLOWANCE)
            return work.reply(convert.api_key(key))
