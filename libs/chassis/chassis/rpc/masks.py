"""Update masks: which fields of a resource a request changes."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from chassis.errors import ValidationFailed, Violation


def masked(resource: Message, mask: FieldMask, *, allowed: Sequence[str], field: str = "update_mask") -> dict[str, Any]:
    """Return the fields that an update changes, by name, with their new values.

    A field that the mask names and the resource leaves out is cleared: None for messages and optional scalars, else
    its default. Without a mask the populated fields among `allowed` change (AIP-134). Nested messages replace, so a
    path below one counts as the message.
    Raises ValidationFailed, naming each path that is not in `allowed`.
    """
    named = {path.split(".")[0] for path in mask.paths} or {
        descriptor.name for descriptor, _ in resource.ListFields() if descriptor.name in allowed
    }
    refused = sorted(named - set(allowed))
    if refused:
        raise ValidationFailed(
            violations=[
                Violation(f"{field}.{name}", f"cannot be changed; can be: {', '.join(allowed)}", "mask")
                for name in refused
            ]
        )
    return {name: _value(resource, name) for name in allowed if name in named}


def _value(resource: Message, name: str) -> Any:
    descriptor = resource.DESCRIPTOR.fields_by_name[name]
    if descriptor.has_presence and not resource.HasField(name):
        return None
    return getattr(resource, name)
