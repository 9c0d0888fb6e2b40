"""The issuer's keys: made once, kept encrypted, read by every replica."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import models
from auth.domain.errors import RotationUnfinished
from auth.domain.issuer import ANNOUNCE, LINGER, MAX_PUBLISHED, KeyPurpose, KeyTimes, choose_signer
from auth.unit_of_work import AuthUnitOfWork
from chassis.crypto import Sealer
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable

RELOAD_INTERVAL = timedelta(seconds=30)  # well below ANNOUNCE: a new key is known everywhere before it signs
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class IssuerKey:
    """A key in memory."""

    purpose: KeyPurpose
    times: KeyTimes
    public_key: bytes
    private_key: bytes  # 32 raw bytes

    @property
    def kid(self) -> str:
        """What names the key in a token's header."""
        return self.times.kid


class KeyRing:
    """The issuer's keys of this process: made on the first start of the installation, re-read while it runs."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork], sealer: Sealer) -> None:
        self._acquire = acquire
        self._sealer = sealer
        self._keys: tuple[IssuerKey, ...] = ()

    def published(self, purpose: KeyPurpose, *, now: datetime) -> Sequence[IssuerKey]:
        """Return the keys that verify, the signing one first. Raises DependencyUnavailable before the first load."""
        keys = [key for key in self._keys if key.purpose is purpose and key.times.is_published(now)]
        if not keys:
            raise DependencyUnavailable(dependency="postgres")
        signer = choose_signer([key.times for key in keys], now)
        return sorted(keys, key=lambda key: key.times is not signer)

    def signer(self, purpose: KeyPurpose, *, now: datetime) -> IssuerKey:
        """Return the key that signs now."""
        return self.published(purpose, now=now)[0]

    @property
    def pepper(self) -> bytes:
        """The secret that digests of other secrets are keyed with. It is never rotated: digests can't follow."""
        return self.signer(KeyPurpose.PEPPER, now=datetime.now(UTC)).private_key

    async def load(self) -> None:
        """Read the keys, making those that are missing. Replicas that start together make each once."""
        async with self._acquire.anonymous() as work:
            rows = await work.issuer_keys.all_published(work.now())
            if missing := set(KeyPurpose) - {KeyPurpose(row.purpose) for row in rows}:
                await work.issuer_keys.lock()
                rows = await work.issuer_keys.all_published(work.now())
                missing -= {KeyPurpose(row.purpose) for row in rows}
                rows = [*rows, *(self._make(work, purpose, sign_from=work.now()) for purpose in sorted(missing))]
            self._keys = tuple(self._open(row) for row in rows)

    async def rotate(self, purpose: KeyPurpose) -> str:
        """Publish a new key that signs in five minutes, and retire the current one after its last token.

        Raises RotationUnfinished while the last rotation goes on.
        """
        await self.load()
        async with self._acquire.anonymous() as work:
            await work.issuer_keys.lock()
            live = [row for row in await work.issuer_keys.all_published(work.now()) if row.purpose == purpose]
            if len(live) >= MAX_PUBLISHED:
                raise RotationUnfinished
            sign_from = work.now() + ANNOUNCE
            for row in live:
                row.retire_time = sign_from + LINGER
            kid = self._make(work, purpose, sign_from=sign_from).kid
        await self.load()
        return kid

    async def check(self) -> None:
        """Load the keys if they weren't yet; for readiness."""
        if not self._keys:
            await self.load()

    async def run(self, stop: asyncio.Event) -> None:
        """Re-read the keys until told to stop, so that a rotation reaches this replica."""
        while not stop.is_set():
            try:
                await self.load()
            except DependencyUnavailable:
                _log.warning("issuer_keys_not_read")
            await wait(stop, RELOAD_INTERVAL if self._keys else timedelta(seconds=1))

    def _make(self, work: AuthUnitOfWork, purpose: KeyPurpose, *, sign_from: datetime) -> models.IssuerKey:
        private_key = Ed25519PrivateKey.generate()
        kid = secrets.token_hex(8)
        row = models.IssuerKey(
            kid=kid,
            purpose=purpose.value,
            public_key=b"" if purpose is KeyPurpose.PEPPER else private_key.public_key().public_bytes_raw(),
            sealed_private_key=self._sealer.seal(
                private_key.private_bytes_raw(), organization_id=None, purpose=_seal_purpose(purpose, kid)
            ),
            create_time=work.now(),
            sign_from=sign_from,
        )
        work.issuer_keys.add(row)
        return row

    def _open(self, row: models.IssuerKey) -> IssuerKey:
        purpose = KeyPurpose(row.purpose)
        private_key = self._sealer.open(
            row.sealed_private_key, organization_id=None, purpose=_seal_purpose(purpose, row.kid)
        )
        times = KeyTimes(kid=row.kid, sign_from=row.sign_from, retire_time=row.retire_time)
        return IssuerKey(purpose=purpose, times=times, public_key=row.public_key, private_key=private_key)


def _seal_purpose(purpose: KeyPurpose, kid: str) -> str:
    return f"issuer-key:{purpose.value}:{kid}"


async def wait(stop: asyncio.Event, interval: timedelta) -> None:
    """Sleep for the interval, or until told to stop."""
    try:
        await asyncio.wait_for(stop.wait(), timeout=interval.total_seconds())
    except TimeoutError:
        return
