"""Expecting refusals by their reason, which is what clients compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from chassis.errors import FleetError
from chassis.rpc import status


class NotRefused(AssertionError):
    """What should have been refused was not, or for another reason."""


@dataclass
class Refusal:
    """The refusal that was seen, known after the block."""

    error: FleetError | None = None


@contextmanager
def refused(reason: str) -> Iterator[Refusal]:
    """Expect a call, or code, inside the block to be refused with this reason. Raises NotRefused."""
    seen = Refusal()
    try:
        yield seen
    except FleetError as error:
        seen.error = error
    except grpc.aio.AioRpcError as error:
        seen.error = status.from_rpc_error(error, peer="service under test")
    if seen.error is None:
        raise NotRefused(f"was not refused; {reason} was expected")
    if seen.error.reason != reason:
        raise NotRefused(f"was refused with {seen.error.reason}: {seen.error.message}; {reason} was expected")
