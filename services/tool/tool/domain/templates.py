"""HTTP templates: a method, a URL, headers and a body with places for arguments."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from chassis.errors import Violation
from tool.domain.errors import ToolTemplateInvalid

_PLACE = re.compile(r"{([A-Za-z_][A-Za-z0-9_]*)}")
_HEADER_NAME = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
# Set by the connection, or a way to reach another host than the one that was checked.
_RESERVED_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "proxy-authorization"}


@dataclass(frozen=True)
class HttpTemplate:
    """`{name}` in `url`, in header values and in `body` stands for the argument of that name."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def places(self) -> set[str]:
        """Names of all places."""
        return {name for text in (self.url, self.body, *self.headers.values()) for name in _PLACE.findall(text)}


@dataclass(frozen=True)
class HttpRequest:
    """A filled template."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes


def check(template: HttpTemplate, *, input_schema: Mapping[str, Any]) -> None:
    """Raise ToolTemplateInvalid unless each place is a parameter of the schema and the host is fixed."""
    found = [Violation("tool.http.url", problem, "url") for problem in _problems_of_url(template.url)]
    found += [
        Violation("tool.http", f"the place {{{name}}} is not a property of input_schema", "place")
        for name in sorted(template.places - set(input_schema.get("properties", {})))
    ]
    found += [
        Violation(f"tool.http.headers.{name[:60]}", "this header cannot be set", "header")
        for name in template.headers
        if not _HEADER_NAME.match(name) or name.lower() in _RESERVED_HEADERS
    ]
    if found:
        raise ToolTemplateInvalid(violations=found)


def _problems_of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        yield "is not a URL"
        return
    if not is_absolute:
        yield "must be an absolute http or https URL"
    if _PLACE.search(parts.netloc):
        yield "the host cannot have a place"
    if parts.username or parts.password:
        yield "must not carry a user name or password"


def fill(template: HttpTemplate, arguments: Mapping[str, Any]) -> HttpRequest:
    """Return the request for these arguments, which satisfy the tool's schema.

    Arguments in the URL are percent-encoded, so none can leave its place; line breaks in header values become spaces.
    Arguments without a place go into the query (GET, DELETE) or, when there is no body, into a JSON body.
    """
    rest = {name: value for name, value in arguments.items() if name not in template.places}
    url = _PLACE.sub(lambda place: quote(_text(arguments.get(place[1])), safe=""), template.url)
    headers = {name: " ".join(_filled(value, arguments).split()) for name, value in template.headers.items()}
    content = _filled_body(template.body, arguments).encode()
    if rest and template.method in ("GET", "DELETE"):
        query = urlencode({name: _text(value) for name, value in rest.items()})
        url = f"{url}{'&' if urlsplit(url).query else '?'}{query}"
    elif not template.body and template.method in ("POST", "PUT", "PATCH"):
        content = json.dumps(rest).encode()
        headers = {"Content-Type": "application/json", **headers}
    return HttpRequest(method=template.method, url=url, headers=headers, content=content)


def _filled(text: str, arguments: Mapping[str, Any]) -> str:
    return _PLACE.sub(lambda place: _text(arguments.get(place[1])), text)


def _filled_body(text: str, arguments: Mapping[str, Any]) -> str:
    """Fill a body.

    In one that looks like JSON a place within quotes takes the escaped text, elsewhere the JSON value.
    """
    if not text.lstrip().startswith(("{", "[")):
        return _filled(text, arguments)

    def filling(place: re.Match[str]) -> str:
        value = arguments.get(place[1])
        quoted = text[: place.start()].count('"') % 2 == 1
        return json.dumps(_text(value))[1:-1] if quoted else json.dumps(value)

    return _PLACE.sub(filling, text)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
