"""The issuer's public keys."""

import base64
from datetime import UTC, datetime

from auth.application.issuer import KeyRing
from auth.domain.issuer import KeyPurpose
from chassis.rpc.server import Context
from definable.auth.v1.key_set_service_pb2 import GetJsonWebKeySetRequest, JsonWebKey, JsonWebKeySet
from definable.auth.v1.key_set_service_pb2_grpc import KeySetServiceServicer


class KeySet(KeySetServiceServicer):
    """KeySetService over the key ring."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def GetJsonWebKeySet(self, request: GetJsonWebKeySetRequest, context: Context) -> JsonWebKeySet:
        published = self._keys.published(KeyPurpose.ACCESS, now=datetime.now(UTC))
        return JsonWebKeySet(
            keys=[
                JsonWebKey(
                    kty="OKP",
                    crv="Ed25519",
                    x=base64.urlsafe_b64encode(key.public_key).rstrip(b"=").decode(),
                    kid=key.kid,
                    alg="EdDSA",
                    use="sig",
                )
                for key in published
            ]
        )
