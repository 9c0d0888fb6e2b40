"""openapi.json from the contracts: what the gateway serves, said from the same table that it serves from."""

import re
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from definable.options.v1 import options_pb2
from gateway.operations import PARAMETER, Kind, Operation, Table
from gateway.schemas import Comments, Schema, Schemas
from gateway.transcoding import behaves

_DESCRIPTION: Final = (
    "REST over the services of the fleet. Errors are `application/problem+json` (RFC 9457): compare `reason`, never "
    "texts. Lists page with `page_size` and `page_token`. Changes take an `Idempotency-Key`; resources with an `etag` "
    "take `If-Match`."
)
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Why a request failed (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "reason", "metadata", "violations", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`urn:definable:problem:` and the reason."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, for people."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "reason": {"type": "string", "description": "What went wrong, for programs."},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "violations": {
            "type": "array",
            "description": "The fields to blame, at most twenty.",
            "items": {
                "type": "object",
                "required": ["field", "description", "rule"],
                "properties": {name: {"type": "string"} for name in ("field", "description", "rule")},
            },
        },
        "request_id": {"type": "string", "description": "Finds this request in the logs."},
    },
}
# Reasons that any operation of a kind can end with, by status.
_COMMON: Final = {
    "429": "RATE_LIMITED",
    "503": "DEPENDENCY_UNAVAILABLE, TOO_MANY_IN_FLIGHT",
    "504": "DEADLINE_EXCEEDED",
}
_WITH_CREDENTIAL: Final = {"401": "UNAUTHENTICATED, TOKEN_EXPIRED", "403": "PERMISSION_DENIED"}
_WITH_BODY: Final = {"400": "MALFORMED_BODY", "413": "BODY_TOO_LARGE", "415": "UNSUPPORTED_MEDIA_TYPE"}
_REASON = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


def describe(table: Table, *, version: str) -> Schema:
    """Return the OpenAPI 3.1 document of a table's operations."""
    return _Document(table).render(version)


class _Document:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._comments = Comments(table.files)
        self._schemas = Schemas(self._comments)
        self._shared: dict[str, Schema] = {}
        self._reasons = self._find_reasons()

    def render(self, version: str) -> Schema:
        paths: dict[str, Schema] = {}
        tags: dict[str, str] = {}
        for operation in self._table.operations:
            service = operation.method.containing_service
            tags[_tag(operation)] = self._comments[service.full_name]
            path = PARAMETER.sub(lambda found: "{" + found[1].split(".")[-1] + "}", operation.template)
            paths.setdefault(path, {})[operation.http.lower()] = self._operation(operation)
        return {
            "openapi": "3.1.0",
            "info": {"title": "Definable", "version": version, "description": _DESCRIPTION},
            "paths": paths,
            "tags": [{"name": name, "description": text} for name, text in sorted(tags.items())],
            "components": {
                "schemas": dict(sorted({**self._schemas.components, "Problem": _PROBLEM}.items())),
                "responses": dict(sorted(self._shared.items())),
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "Access token or API key."},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                },
            },
        }

    def _operation(self, operation: Operation) -> Schema:
        summary, _, rest = self._comments[operation.method.full_name].partition("\n")
        described: Schema = {
            "operationId": operation.name,
            "tags": [_tag(operation)],
            "summary": summary.rstrip("."),
            "description": "\n\n".join(filter(None, [f"{summary}\n{rest}".strip(), _permission(operation)])),
            "parameters": [*self._parameters(operation)],
            "responses": self._responses(operation),
            "security": [] if operation.access.public else [{"bearer": []}, {"apiKey": []}],
        }
        if operation.body:
            described["requestBody"] = self._request_body(operation)
        return described

    def _parameters(self, operation: Operation) -> list[Schema]:
        found = []
        for dotted in operation.path_fields:
            field = _field_at(operation.method.input_type, dotted)
            schema = self._schemas.field(field, "Input")
            if schema.get("type") == "string":
                schema = {"minLength": 1} | schema
            found.append(self._parameter(field, "path", schema))
        if operation.kind is Kind.UPLOAD:
            fields = _form_fields(operation)
            found += [self._parameter(f, "query", self._schemas.field(f, "Input"), raw=True) for f in fields]
        found += [self._parameter(f, "query", self._schemas.field(f, "Input")) for f in operation.query_fields()]
        if not operation.is_safe and not operation.access.public:
            found.append(_header("Idempotency-Key", "Repeats of a request with one key have its effect once."))
        if operation.http in ("PATCH", "DELETE"):
            found.append(_header("If-Match", "The etag that the resource must still have."))
        if operation.kind is Kind.EVENTS and "after" in operation.method.input_type.fields_by_name:
            found.append(_header("Last-Event-ID", "Go on behind this event; wins over `after`."))
        return found

    def _parameter(self, field: FieldDescriptor, place: str, schema: Schema, *, raw: bool = False) -> Schema:
        text = self._comments[field.full_name]
        if raw:
            text += "\n\nFor a raw body; a form has a field of this name."
        required = place == "path" or (behaves(field, "REQUIRED") and not raw)
        schema = {name: value for name, value in schema.items() if name != "description"}
        return {"name": field.name, "in": place, "required": required, "description": text, "schema": schema}

    def _request_body(self, operation: Operation) -> Schema:
        if operation.kind is Kind.UPLOAD:
            return self._upload_body(operation)
        kind = operation.method.input_type
        if operation.body == "*":
            schema = self._schemas.message(kind, "Input", without=frozenset(operation.path_fields))
            is_required = bool(self._schemas.components[schema["$ref"].rpartition("/")[2]].get("required"))
        else:
            shape = "Patch" if operation.http == "PATCH" else "Input"
            schema = self._schemas.field(kind.fields_by_name[operation.body], shape)
            is_required = True
        return {"required": is_required, "content": {"application/json": {"schema": schema}}}

    def _upload_body(self, operation: Operation) -> Schema:
        fields = {field.name: self._schemas.field(field, "Input") for field in _form_fields(operation)}
        file = {"type": "string", "format": "binary", "description": "The bytes. Must come after all other fields."}
        form = {"type": "object", "required": ["file"], "properties": {**fields, "file": file}}
        binary = {"schema": {"type": "string", "format": "binary"}}
        return {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": binary},
        }

    def _responses(self, operation: Operation) -> Schema:
        success: Schema = {"description": "Success."}
        if operation.kind is Kind.DOWNLOAD:
            success["content"] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
        elif operation.kind is Kind.EVENTS:
            success["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
        elif operation.status != 204:
            success["content"] = {
                "application/json": {"schema": self._schemas.message(operation.method.output_type, "")}
            }
        responses: Schema = {str(operation.status): success}
        if operation.follow.method:
            events = {"text/event-stream": {"schema": {"type": "string"}}}
            responses.setdefault("200", {"description": "The events, when asked for.", "content": {}})
            responses["200"]["content"] |= events
        reasons = _COMMON | ({} if operation.access.public else _WITH_CREDENTIAL)
        reasons |= _WITH_BODY if operation.body else {}
        reasons |= {"422": "VALIDATION_FAILED, INVALID_ID"} if operation.method.input_type.fields else {}
        reasons |= {"412": "ETAG_MISMATCH"} if operation.http in ("PATCH", "DELETE") else {}
        for status, text in sorted(reasons.items()):
            self._shared[status] = _problem(f"Reasons: {text}.")
            responses[status] = {"$ref": f"#/components/responses/{status}"}
        responses["default"] = _problem(self._own_reasons(operation))
        return responses

    def _own_reasons(self, operation: Operation) -> str:
        """List the reasons that the RPC's comment names, with what the contract says of them."""
        named = dict.fromkeys(_REASON.findall(self._comments[operation.method.full_name]))
        lines = [f"- `{name}`: {self._reasons[name]}" for name in named if name in self._reasons]
        return "\n".join(["Any other failure.", *lines]) if lines else "Any other failure."

    def _find_reasons(self) -> dict[str, str]:
        """Return the reasons of all `…ErrorReason` enums with their comments; the fleet's own win."""
        found: dict[str, str] = {}
        for file in self._table.files.file:
            for enum in file.enum_type:
                if enum.name.endswith("ErrorReason"):
                    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
                    for value in enum.value:
                        text = self._comments[f"{file.package}.{value.name}"].replace("\n", " ")
                        found.setdefault(value.name.removeprefix(prefix), text)
        return found


def _field_at(kind: Descriptor, dotted: str) -> FieldDescriptor:
    """Return the field at a path: "document.id"."""
    name, _, rest = dotted.partition(".")
    field = kind.fields_by_name[name]
    return _field_at(field.message_type, rest) if rest and field.message_type else field


def _form_fields(operation: Operation) -> list[FieldDescriptor]:
    """Return the fields of an upload's metadata that the path doesn't give."""
    taken = {dotted.split(".")[-1] for dotted in operation.path_fields}
    return [field for field in operation.upload_parts().metadata_type.fields if field.name not in taken]


def _tag(operation: Operation) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", operation.method.containing_service.name.removesuffix("Service"))
    return f"{operation.service or 'any'}: {words.lower()}"


def _permission(operation: Operation) -> str:
    if not operation.access.permission:
        return "Needs no credential." if operation.access.public else "Needs a credential, no permission."
    rank = options_pb2.Rank.Name(operation.access.granted_to).lower()
    return f"Needs the permission `{operation.access.permission}`, which {rank}s and those above have."


def _header(name: str, text: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _problem(text: str) -> Schema:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content}
