"""The gRPC server of a process."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from chassis.rpc.authentication import Authenticator
from chassis.rpc.discovery import Discovery
from chassis.rpc.interceptors import CallInterceptor, Context, Replies, check_rules
from chassis.rpc.refusals import Refusals
from chassis.rpc.revocations import Revocations
from chassis.settings import GrpcSettings

__all__ = ["Context", "FleetServer", "build_server"]

MAX_METADATA_BYTES = 16 * 1024
_OPTIONS: Sequence[tuple[str, Any]] = (
    # Clients reconnect now and then, so that they find replicas that were added. Streams go on to their end.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
    # gRPC starts to refuse metadata at random from its soft limit on, which is half of this.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
)


class FleetServer:
    """A gRPC server with the fleet's interceptors, Discovery and health."""

    def __init__(self, *, servicers: Sequence[object], interceptor: CallInterceptor, settings: GrpcSettings) -> None:
        self._servicers = servicers
        self._interceptor = interceptor
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        check_rules(list(_paths(servicers)))

    async def start(self) -> int:
        """Listen and answer; returns the port. Health says NOT_SERVING until `set_serving`. Raises OSError."""
        server = grpc.aio.server(interceptors=[self._interceptor], options=[*_OPTIONS, *_size_limits(self._settings)])
        for servicer in self._servicers:
            _register(servicer, server)
        add_HealthServicer_to_server(self._health, server)
        port = self._bind(server)
        await self.set_serving(False)
        await server.start()
        self._server = server
        return port

    async def set_serving(self, is_serving: bool) -> None:
        """Say by gRPC health whether the process wants calls."""
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)

    async def stop(self, grace: float) -> None:
        """Take no more calls and give those in flight `grace` seconds."""
        if self._server is not None:
            await self.set_serving(False)
            stopping = asyncio.ensure_future(self._server.stop(grace))
            # Streams would use up the grace; whoever reads one resumes it elsewhere.
            self._interceptor.end_streams()
            await stopping
            self._server = None

    def _bind(self, server: grpc.aio.Server) -> int:
        address = self._settings.listen
        try:
            if credentials := _credentials(self._settings):
                return int(server.add_secure_port(address, credentials))
            return int(server.add_insecure_port(address))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}") from error


def build_server(
    *,
    name: str,
    servicers: Sequence[object],
    authenticate: Authenticator,
    settings: GrpcSettings | None = None,
    revocations: Revocations | None = None,
    refusals: Refusals | None = None,
    replies: Replies | None = None,
) -> FleetServer:
    """Return a server, not started. `name` is the process's; it serves the package "definable.<name>.v1".

    Raises when a contract of a servicer can't be enforced: AccessRuleMissing, RuleNotSupported.
    """
    interceptor = CallInterceptor(
        service=name, authenticate=authenticate, revocations=revocations, refusals=refusals, replies=replies
    )
    return FleetServer(
        servicers=[*servicers, Discovery(name)], interceptor=interceptor, settings=settings or GrpcSettings()
    )


def _register(servicer: object, server: grpc.aio.Server) -> None:
    for base in _generated_bases(servicer):
        add = getattr(sys.modules[base.__module__], f"add_{base.__name__}_to_server")
        add(servicer, server)


def _generated_bases(servicer: object) -> Iterable[type]:
    bases = [base for base in type(servicer).__mro__ if base.__module__.endswith("_pb2_grpc")]
    if not bases:
        raise TypeError(f"{type(servicer).__name__} is no servicer: it has no generated base class")
    return bases


def _paths(servicers: Iterable[object]) -> Iterable[str]:
    """Yield the path of each RPC that the servicers have."""
    for servicer in servicers:
        for base in _generated_bases(servicer):
            package = base.__module__.rpartition(".")[0]
            service = descriptor_pool.Default().FindServiceByName(f"{package}.{base.__name__.removesuffix('Servicer')}")
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}"


def _size_limits(settings: GrpcSettings) -> Sequence[tuple[str, Any]]:
    return (
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
    )


def _credentials(settings: GrpcSettings) -> grpc.ServerCredentials | None:
    key_file, certificate_file = settings.tls_private_key_file, settings.tls_certificate_file
    if key_file is None or certificate_file is None:
        return None
    return grpc.ssl_server_credentials([(Path(key_file).read_bytes(), Path(certificate_file).read_bytes())])
