"""Requests to addresses that users name: the only way out for them.

A host is resolved once, every address it has must be public, and the connection goes to that very address, with the
host's name in the Host header and in TLS. Redirects are followed for GET and HEAD and checked anew. Time and bytes
are capped; bodies are never decompressed.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from chassis.addresses import Network, is_allowed
from chassis.boundary import entering_network

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_TIMEOUT_SECONDS = 10.0


class FetchFailed(Exception):
    """The other side could not be reached, or did not speak HTTP."""


class AddressRefused(FetchFailed):
    """The URL is not http or https, its host has no address, or one that is not public."""


class FetchTimeout(FetchFailed):
    """The reply was not complete in time."""


class BodyTooLarge(FetchFailed):
    """The body is larger than allowed."""


@dataclass(frozen=True)
class Fetched:
    """A reply. Names of `headers` are in lower case; of a repeated one the last is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    final_url: str


class SafeFetcher:
    """Fetches; holds no connections between calls.

    `allow_private` are networks to allow beyond the public ones ("127.0.0.0/8").
    """

    def __init__(self, *, allow_private: Sequence[str] = ()) -> None:
        self._backend = _CheckedBackend([ip_network(text) for text in allow_private])
        self._tls = ssl.create_default_context()

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: timedelta = timedelta(seconds=30),
        max_bytes: int = 1_048_576,
    ) -> Fetched:
        """Return the reply, whatever its status, its body of at most `max_bytes` bytes.

        Raises AddressRefused, FetchTimeout, BodyTooLarge or FetchFailed.
        """
        entering_network("safe_fetch")
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._follow(method.upper(), url, dict(headers or {}), content, max_bytes)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise FetchTimeout(f"no complete reply within {timeout}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise FetchFailed(type(error).__name__) from error

    async def _follow(self, method: str, url: str, headers: dict[str, str], content: bytes, max_bytes: int) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._once(method, url, headers, content, max_bytes)
            location = reply.headers.get("location")
            if method not in ("GET", "HEAD") or reply.status not in _REDIRECTS or not location:
                return reply
            following = urljoin(url, location)
            if _origin(following) != _origin(url):
                # What was meant for one host, credentials among it, is not for another.
                headers = {}
            url = following
        raise FetchFailed(f"more than {MAX_REDIRECTS} redirects")

    async def _once(self, method: str, url: str, headers: dict[str, str], content: bytes, max_bytes: int) -> Fetched:
        _check_url(url)
        sent = {"User-Agent": "Definable", **headers, "Accept-Encoding": "identity"}
        async with self._pool() as pool:
            request = httpcore.Request(method, _encoded(url), headers=_with_host(sent, url, content), content=content)
            reply = await pool.handle_async_request(request)
            try:
                body = await _read(reply.aiter_stream(), max_bytes)
            finally:
                await reply.aclose()
        read = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers}
        return Fetched(status=reply.status, headers=read, body=body, final_url=url)

    @asynccontextmanager
    async def _pool(self) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=self._backend, max_connections=1, http2=False
        ) as pool:
            yield pool


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, after resolving once."""

    def __init__(self, also: Sequence[Network]) -> None:
        self._also = also
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._resolve(host, port)
        return await self._inner.connect_tcp(address, port, timeout=timeout or _CONNECT_TIMEOUT_SECONDS)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("sockets of this machine cannot be fetched from")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise AddressRefused("the host has no address") from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        # All must be public: a name with one private address among public ones is an attempt, not a host.
        if not addresses or not all(is_allowed(ip_address(address), self._also) for address in addresses):
            raise AddressRefused("the address is not public")
        return addresses[0]


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused("not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise AddressRefused("only absolute http and https URLs can be fetched")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("the URL carries a user name or password")


def _encoded(url: str) -> bytes:
    """Return the URL in ASCII: the host in punycode, the rest percent-encoded, without the fragment."""
    parts = urlsplit(url)
    try:
        host = (
            (parts.hostname or "").encode("idna").decode()
            if ":" not in (parts.hostname or "")
            else f"[{parts.hostname}]"
        )
    except UnicodeError as error:
        raise AddressRefused("the host is not a name") from error
    port = f":{parts.port}" if parts.port else ""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return f"{parts.scheme}://{host}{port}{path}{query}".encode("ascii")


def _with_host(headers: Mapping[str, str], url: str, content: bytes) -> list[tuple[bytes, bytes]]:
    parts = urlsplit(_encoded(url).decode())
    sent = {**headers, "Host": parts.netloc, **({"Content-Length": str(len(content))} if content else {})}
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
    except UnicodeEncodeError as error:
        raise FetchFailed("a header has characters that HTTP cannot carry") from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


async def _read(stream: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for data in stream:
        body += data
        if len(body) > max_bytes:
            raise BodyTooLarge(f"more than {max_bytes} bytes")
    return bytes(body)
