"""What the RPCs of auth need to know of their caller."""

from uuid import UUID

from auth.domain import ids
from auth.domain.errors import DelegationNotAllowed, SessionRequired
from chassis.rpc.caller import Caller, CallerKind, current_caller


def session_caller() -> tuple[UUID, UUID, UUID]:
    """Return user, organization and session of the caller. Raises SessionRequired for anything but a session."""
    caller = current_caller()
    if caller.kind != CallerKind.USER or caller.is_process:
        raise SessionRequired
    if caller.principal_id is None or caller.organization_id is None:
        raise SessionRequired
    return caller.principal_id, caller.organization_id, ids.SESSION.parse(caller.credential_id)


def principal() -> tuple[Caller, UUID]:
    """Return the caller and the user they act as. Raises SessionRequired for a process that acts as itself."""
    caller = current_caller()
    if caller.principal_id is None:
        raise SessionRequired
    return caller, caller.principal_id


def asserted_process() -> str:
    """Return the process that proved itself by an assertion. Raises DelegationNotAllowed.

    A context token that was minted for a process doesn't do: it is forwarded to others, and must not give birth.
    """
    caller = current_caller()
    if caller.service is None or caller.token:
        raise DelegationNotAllowed
    return caller.service
