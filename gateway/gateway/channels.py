"""One gRPC channel to each service, by its name in the fleet."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2

from chassis.errors import DependencyUnavailable
from chassis.rpc import client as rpc_client
from definable.discovery.v1.discovery_pb2 import GetDescriptorsRequest, GetDescriptorsResponse


class Channels:
    """The channels to the services that settings name."""

    def __init__(self, channels: rpc_client.Channels) -> None:
        self._channels = channels

    @property
    def names(self) -> Sequence[str]:
        """The services, sorted."""
        return self._channels.names()

    def to(self, service: str) -> grpc.aio.Channel:
        """Return the channel to a service. Raises DependencyUnavailable when settings don't name it."""
        try:
            return self._channels.channel(service)
        except KeyError:
            raise DependencyUnavailable(dependency=service) from None

    async def is_serving(self, service: str, *, timeout: float = 1.0) -> bool:
        """Ask the service whether it is ready; no answer in time is no."""
        check = self.to(service).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            reply = await check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def ask_descriptors(self, service: str, *, timeout: float = 3.0) -> GetDescriptorsResponse | None:
        """Ask the service what it serves; None when it doesn't answer."""
        ask = self.to(service).unary_unary(
            "/definable.discovery.v1.Discovery/GetDescriptors",
            request_serializer=GetDescriptorsRequest.SerializeToString,
            response_deserializer=GetDescriptorsResponse.FromString,
        )
        try:
            reply: GetDescriptorsResponse = await ask(GetDescriptorsRequest(), timeout=timeout)
        except grpc.aio.AioRpcError:
            return None
        return reply
