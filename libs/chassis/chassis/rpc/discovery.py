"""The Discovery service, answered by every process that serves gRPC."""

import hashlib

from chassis.rpc import descriptors
from chassis.rpc.interceptors import Context
from definable.discovery.v1.discovery_pb2 import GetDescriptorsRequest, GetDescriptorsResponse
from definable.discovery.v1.discovery_pb2_grpc import DiscoveryServicer


class Discovery(DiscoveryServicer):
    """Hands out the contract of its service, as it was packaged with this process."""

    def __init__(self, service: str) -> None:
        content = descriptors.service_set(service).SerializeToString(deterministic=True)
        version = hashlib.sha256(content).hexdigest()[:16]
        self._answer = GetDescriptorsResponse(descriptor_set=content, service=service, version=version)

    async def GetDescriptors(self, request: GetDescriptorsRequest, context: Context) -> GetDescriptorsResponse:
        """Return the packaged contract."""
        return self._answer
