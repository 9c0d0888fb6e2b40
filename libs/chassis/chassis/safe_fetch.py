"""HTTP to addresses that users name.

Whatever a user can make a server fetch, an attacker will point at the server's own network. So a host name is resolved
once, every address it has must be public, and the connection goes to just that address, with the right Host and SNI.
Redirects pass the same gate. Which addresses are public is told by `chassis.addresses`.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from chassis.addresses import Address, Network, is_allowed
from chassis.boundary import entering_network

MAX_REDIRECTS = 5
MAX_URL = 8192
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_FORWARDED = frozenset({"authorization", "cookie", "proxy-authorization"})
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect", "upgrade", "te"}
)


class FetchError(Exception):
    """There is no answer to hand out. What is in the message is for logs, not for users."""


class AddressRefused(FetchError):
    """The URL leads, or is redirected, to where no user may send us."""


class FetchTimeout(FetchError):
    """The whole exchange took longer than allowed."""


class BodyTooLarge(FetchError):
    """The body is larger than allowed."""


class FetchFailed(FetchError):
    """The other side could not be reached, or did not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whatever its status. Header names are in lower case, repeated ones joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    final_url: str


class SafeFetcher:
    """Fetches from public addresses only.

    `allow_private` lists networks ("127.0.0.1/32") that may be reached all the same: for tests, and for operators who
    run tools of their own beside the fleet.
    """

    def __init__(self, *, allow_private: Iterable[str] = (), ssl_context: ssl.SSLContext | None = None) -> None:
        self._backend = _CheckedBackend([ip_network(text, strict=False) for text in allow_private])
        self._ssl_context = ssl_context

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: timedelta = timedelta(seconds=30),
        max_bytes: int = 1024 * 1024,
        max_redirects: int = MAX_REDIRECTS,
    ) -> Fetched:
        """Return the answer to a request, after at most `max_redirects` redirects; `timeout` is for all of it.

        `max_bytes` bounds the body, decoded. Credentials are not taken along to another origin.
        Raises AddressRefused, FetchTimeout, BodyTooLarge, FetchFailed.
        """
        entering_network(f"safe_fetch {method}")
        request = _Request(method.upper(), url, _allowed_headers(headers or {}), content)
        try:
            async with asyncio.timeout(timeout.total_seconds()), self._pool() as pool:
                for _ in range(max_redirects + 1):
                    answer = await _exchange(pool, request, max_bytes)
                    location = answer.headers.get("location")
                    if answer.status not in _REDIRECTS or location is None:
                        return answer
                    request = request.redirected(answer.status, location)
        except TimeoutError as error:
            raise FetchTimeout(f"no complete answer in {timeout.total_seconds():g} s") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError, zlib.error) as error:
            raise FetchFailed(type(error).__name__) from error
        raise FetchFailed("too many redirects")

    def _pool(self) -> httpcore.AsyncConnectionPool:
        # A pool for one fetch: a kept connection would outlive the check of its address.
        return httpcore.AsyncConnectionPool(network_backend=self._backend, ssl_context=self._ssl_context, retries=0)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes

    def redirected(self, status: int, location: str) -> "_Request":
        target = urljoin(self.url, location)
        headers = dict(self.headers)
        if _origin(_parts(target)) != _origin(_parts(self.url)):
            headers = {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}
        if status == 303 or (status in (301, 302) and self.method == "POST"):
            headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
            return _Request("GET", target, headers, b"")
        return _Request(self.method, target, headers, self.content)


def _allowed_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OURS}


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL that may be fetched. Raises AddressRefused."""
    try:
        parts = urlsplit(url)
        valid = len(url) <= MAX_URL and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise AddressRefused("not a URL") from error
    if not valid or parts.username is not None or parts.password is not None:
        raise AddressRefused("not a URL that may be fetched")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


async def _exchange(pool: httpcore.AsyncConnectionPool, request: _Request, max_bytes: int) -> Fetched:
    parts = _parts(request.url)
    headers = [
        (b"Host", parts.netloc.encode("idna") if not parts.netloc.isascii() else parts.netloc.encode()),
        (b"Accept-Encoding", b"identity"),
        *((name.encode("latin-1", "replace"), value.encode("utf-8")) for name, value in request.headers.items()),
    ]
    if not any(name.lower() == b"user-agent" for name, _ in headers):
        headers.append((b"User-Agent", b"definable"))
    async with pool.stream(
        request.method, _url(parts), headers=_with_length(headers, request), content=request.content
    ) as response:
        received = _joined(response.headers)
        body = await _body(response, received.get("content-encoding", ""), max_bytes)
        return Fetched(response.status, received, body, request.url)


def _with_length(headers: list[tuple[bytes, bytes]], request: _Request) -> list[tuple[bytes, bytes]]:
    if request.content or request.method in ("POST", "PUT", "PATCH"):
        return [*headers, (b"Content-Length", str(len(request.content)).encode())]
    return headers


def _url(parts: SplitResult) -> httpcore.URL:
    host = parts.hostname or ""
    scheme, _, port = _origin(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=scheme.encode(),
        host=host.encode("idna") if not host.isascii() else host.encode(),
        port=port,
        target=_quoted(target),
    )


def _quoted(target: str) -> bytes:
    """Percent-encode what a request line must not hold; leave what is encoded already."""
    return b"".join(bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte for byte in target.encode())


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


async def _body(response: httpcore.Response, encoding: str, max_bytes: int) -> bytes:
    """Read the body. One that comes packed though nobody asked is unpacked as it comes: a bomb never grows large."""
    if encoding.lower() not in ("", "identity", "gzip", "x-gzip"):
        raise FetchFailed("unknown content encoding")
    decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding.lower().endswith("gzip") else None
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += decoder.decompress(chunk, max_bytes + 1 - len(body)) if decoder else chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"more than {max_bytes} bytes")
    return bytes(body)


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to addresses that passed the gate, and to no others."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers. Raises AddressRefused unless all may be reached."""
        addresses = await _resolve(host, port)
        if not addresses or not all(is_allowed(address, self._allowed) for address in addresses):
            raise AddressRefused(f"{host} has no address, or one that is not public")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, 5.0, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, which may be an address itself. Raises FetchFailed when its name is not known."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed("the name is not known") from error
    # A scope ("%eth0") only makes sense on a link, and links are not public.
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [ip_address(text.partition("%")[0]) for text in texts]
