"""API keys: what their owners do with them, inside a unit of work of the caller's organization."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from auth import models
from auth.domain import addresses, ids, scopes
from auth.domain import api_keys as key_text
from auth.domain.errors import (
    ApiKeyNotFound,
    ApiKeyOfAnother,
    ApiKeyRevoked,
    ExpiryInPast,
    ScopeNotHeld,
    ScopeUnknown,
)
from auth.domain.scopes import Rights
from auth.repositories import COMMIT_ALLOWANCE
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.database import check_etag
from chassis.data.pagination import Page
from chassis.rpc.caller import Caller
from definable.auth.v1 import events_pb2 as events

UPDATABLE = ("display_name", "scopes", "expire_time", "allowed_addresses", "requests_per_minute")


async def create(
    work: AuthUnitOfWork,
    *,
    caller: Caller,
    creator_id: UUID,
    settings: Mapping[str, Any],  # the fields of UPDATABLE, by name
    end_user: str,
    pepper: bytes,
    catalogue: Mapping[str, int],
) -> tuple[models.ApiKey, str]:
    """Create a key; return it with its secret, which is not stored.

    Without scopes the key gets the caller's. A key that works for an end user makes keys for that end user only.
    Raises ScopeUnknown, ScopeNotHeld, AddressRangeInvalid, ExpiryInPast.
    """
    text = key_text.mint(secrets.token_bytes(41))
    checked = _checked(settings, caller=caller, catalogue=catalogue, now=work.now())
    key = models.ApiKey(
        id=work.new_id(),
        creator_id=creator_id,
        public_id=text.public_id,
        secret_hmac=text.digest(pepper=pepper),
        end_user=caller.end_user or end_user,
        create_time=work.now(),
        update_time=work.now(),
        **checked,
    )
    work.api_keys.add(key)
    await work.session.flush()
    shown = ids.API_KEY.show(key.id)
    work.outbox.add(events.ApiKeyCreated(api_key_id=shown), target=shown, after=_digest(key), revision=key.revision)
    return key, text.show()


async def get(work: AuthUnitOfWork, key_id: UUID) -> models.ApiKey:
    """Return a key. Raises ApiKeyNotFound."""
    key = await work.api_keys.get(key_id)
    if key is None:
        raise ApiKeyNotFound(id=ids.API_KEY.show(key_id))
    return key


async def page(work: AuthUnitOfWork, *, page_size: int, page_token: str) -> Page[models.ApiKey]:
    """Return a page of keys, the newest first. Raises PageTokenInvalid."""
    return await work.api_keys.newest_first(page_size=page_size, page_token=page_token)


async def update(
    work: AuthUnitOfWork,
    *,
    caller: Caller,
    key_id: UUID,
    changes: Mapping[str, Any],  # some of the fields of UPDATABLE, by name
    catalogue: Mapping[str, int],
) -> models.ApiKey:
    """Change a key. Tokens it has been given die within a second, so that fewer rights show at once.

    A key acts as its creator: whoever else changed what it may do could borrow a higher rank. Others rename it.
    Raises ApiKeyNotFound, ApiKeyOfAnother, ApiKeyRevoked, EtagMismatch, and what `create` raises.
    """
    key = await get(work, key_id)
    if key.creator_id != caller.principal_id and set(changes) - {"display_name"}:
        raise ApiKeyOfAnother
    check_etag(key)
    if key.revoke_time is not None:
        raise ApiKeyRevoked
    before = _digest(key)
    for name, value in _checked(changes, caller=caller, catalogue=catalogue, now=work.now()).items():
        setattr(key, name, value)
    key.update_time = work.now()
    await work.session.flush()
    await work.revocations.add(time=datetime.now(UTC) + COMMIT_ALLOWANCE, api_key_id=key.id)
    shown = ids.API_KEY.show(key.id)
    work.outbox.add(
        events.ApiKeyUpdated(api_key_id=shown, changed_fields=sorted(changes)),
        target=shown,
        before=before,
        after=_digest(key),
        revision=key.revision,
    )
    return key


async def revoke(work: AuthUnitOfWork, key_id: UUID, *, until: datetime) -> models.ApiKey:
    """End a key and every token issued for it before `until`. Raises ApiKeyNotFound."""
    key = await get(work, key_id)
    if key.revoke_time is not None:
        return key
    before = _digest(key)
    key.revoke_time = key.update_time = work.now()
    await work.session.flush()
    await work.revocations.add(time=until, api_key_id=key.id)
    shown = ids.API_KEY.show(key.id)
    work.outbox.add(
        events.ApiKeyRevoked(api_key_id=shown), target=shown, before=before, after=_digest(key), revision=key.revision
    )
    return key


def _checked(
    values: Mapping[str, Any], *, caller: Caller, catalogue: Mapping[str, int], now: datetime
) -> dict[str, Any]:
    checked = dict(values)
    if "scopes" in checked:
        checked["scopes"] = _checked_scopes(list(checked["scopes"]), caller=caller, catalogue=catalogue)
    if "allowed_addresses" in checked:
        checked["allowed_addresses"] = addresses.normalize(checked["allowed_addresses"])
    if checked.get("expire_time") is not None and checked["expire_time"] <= now:
        raise ExpiryInPast
    return checked


def _checked_scopes(wanted: list[str], *, caller: Caller, catalogue: Mapping[str, int]) -> list[str]:
    rights = Rights(rank=caller.rank, grants=caller.grants)
    for scope in wanted:
        if not scopes.is_known(scope, catalogue):
            raise ScopeUnknown(scope=scope)
        if not scopes.is_held(scope, rights, catalogue):
            raise ScopeNotHeld(scope=scope)
    return sorted(wanted) or sorted(caller.grants)


def _digest(key: models.ApiKey) -> dict[str, Any]:  # JSON of the fields an audit compares
    return {
        "display_name": key.display_name,
        "scopes": key.scopes,
        "allowed_addresses": key.allowed_addresses,
        "requests_per_minute": key.requests_per_minute,
        "expire_time": key.expire_time.isoformat() if key.expire_time else None,
        "is_revoked": key.revoke_time is not None,
    }
