"""Context tokens and assertions."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chassis import ids
from chassis.errors import CredentialMissing, TokenExpired, Unauthenticated
from chassis.rpc import tokens
from chassis.rpc.caller import CallerKind
from chassis.rpc.tokens import (
    AssertionVerifier,
    Claims,
    ContextTokens,
    ContextTokenVerifier,
    ProcessAssertion,
    SigningKey,
    StaticFleetKeys,
)
from definable.auth.v1.authentication_service_pb2 import Revocation

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = SigningKey("k1", Ed25519PrivateKey.generate())
KEYS = StaticFleetKeys({"k1": KEY.private_key.public_key()})


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def a_verifier(clock: Clock | None = None, **options: Any) -> ContextTokenVerifier:
    return ContextTokenVerifier(KEYS, clock=clock or Clock(), **options)


def a_token(*, key: SigningKey = KEY, now: datetime = NOW, **claims: Any) -> str:
    return ContextTokens.mint(Claims(**{"subject": "user_1", "kind": "user", **claims}), key, now=now).token


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


claims = st.builds(
    Claims,
    subject=st.text(min_size=1, max_size=40),
    kind=st.sampled_from([kind.value for kind in CallerKind]),
    organization_id=st.none() | st.uuids(),
    principal_id=st.none() | st.uuids(),
    rank=st.sampled_from([0, 10, 20, 30, 40, 50]),
    grants=st.lists(st.text(max_size=20), max_size=5),
    credential_id=st.text(max_size=40),
    end_user=st.none() | st.text(min_size=1, max_size=40),
    service=st.none() | st.text(min_size=1, max_size=10),
    requests_per_minute=st.integers(0, 10**6),
    allowed_addresses=st.lists(st.text(max_size=20), max_size=3),
)


class TestContextTokens:
    @given(claims)
    async def test_a_verified_token_says_what_was_minted(self, minted: Claims) -> None:
        caller = await a_verifier().verify(ContextTokens.mint(minted, KEY, now=NOW).token)

        for name in (
            "subject",
            "kind",
            "organization_id",
            "principal_id",
            "rank",
            "credential_id",
            "end_user",
            "service",
        ):
            assert getattr(caller, name) == getattr(minted, name), name
        assert caller.grants == tuple(sorted(minted.grants))
        assert caller.allowed_addresses == tuple(minted.allowed_addresses)
        assert (caller.issue_time, caller.expire_time) == (NOW, NOW + timedelta(seconds=60))

    @given(st.integers(min_value=0), st.characters(codec="ascii"))
    async def test_a_token_with_any_other_character_is_refused(self, position: int, character: str) -> None:
        token = a_token(credential_id="sess_1")
        index = position % len(token)
        changed = token[:index] + character + token[index + 1 :]

        if changed != token:
            with pytest.raises(Unauthenticated):
                await a_verifier().verify(changed)

    @given(st.text(max_size=100) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]+", fullmatch=True))
    async def test_whatever_is_no_token_is_refused(self, text: str) -> None:
        with pytest.raises(Unauthenticated):
            await a_verifier().verify(text)

    async def test_is_refused_when_signed_by_a_key_of_the_same_name(self) -> None:
        with pytest.raises(CredentialMissing):
            await a_verifier().verify(a_token(key=SigningKey("k1", Ed25519PrivateKey.generate())))

    @pytest.mark.parametrize(
        "header",
        [
            {"alg": "none", "typ": "fleet+jwt", "kid": "k1"},
            {"alg": "HS256", "typ": "fleet+jwt", "kid": "k1"},
            {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"},
            {"alg": "EdDSA", "typ": "assertion+jwt", "kid": "k1"},
            {"alg": "EdDSA", "typ": "fleet+jwt"},
            {"alg": "EdDSA", "typ": "fleet+jwt", "kid": "k1", "crit": ["exp"]},
            {"alg": "EdDSA", "typ": "fleet+jwt", "kid": ["k1"]},
        ],
    )
    async def test_is_refused_with_another_header_though_the_signature_is_right(self, header: dict[str, Any]) -> None:
        signed = f"{_part(header)}.{a_token().split('.')[1]}"
        signature = base64.urlsafe_b64encode(KEY.private_key.sign(signed.encode())).rstrip(b"=").decode()

        with pytest.raises(CredentialMissing):
            await a_verifier().verify(f"{signed}.{signature}")

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "elsewhere"},
            {"sub": 7},
            {"kind": "root"},
            {"org": "org_1"},
            {"rank": True},
            {"grants": "*"},
            {"exp": None},
            {"exp": 1e300},
            {"exp": NOW.timestamp() + 3600},
            {"iat": NOW.timestamp() + 60},
        ],
    )
    async def test_is_refused_with_claims_that_make_no_sense(self, changes: dict[str, Any]) -> None:
        payload = {"iss": "definable", "sub": "u", "kind": "user", "iat": NOW.timestamp(), "exp": NOW.timestamp() + 60}
        signed = f"{_part({'alg': 'EdDSA', 'typ': 'fleet+jwt', 'kid': 'k1'})}.{_part({**payload, **changes})}"
        signature = base64.urlsafe_b64encode(KEY.private_key.sign(signed.encode())).rstrip(b"=").decode()

        with pytest.raises(CredentialMissing):
            await a_verifier().verify(f"{signed}.{signature}")

    async def test_is_good_for_a_minute_and_the_skew_also_when_it_was_seen_before(self) -> None:
        clock = Clock()
        verifier, token = a_verifier(clock), a_token()
        await verifier.verify(token)

        clock.now = NOW + timedelta(seconds=64.9)
        await verifier.verify(token)
        clock.now = NOW + timedelta(seconds=65)
        with pytest.raises(TokenExpired):
            await verifier.verify(token)

    async def test_from_a_clock_that_is_ahead_is_taken_within_the_skew(self) -> None:
        await a_verifier().verify(a_token(now=NOW + timedelta(seconds=4.9)))
        with pytest.raises(CredentialMissing):
            await a_verifier().verify(a_token(now=NOW + timedelta(seconds=6)))

    def test_cannot_be_minted_for_longer(self) -> None:
        with pytest.raises(ValueError, match="60 seconds"):
            ContextTokens.mint(Claims("u", "user"), KEY, lifetime=timedelta(minutes=2))

    async def test_are_remembered_up_to_a_bound(self) -> None:
        verifier = a_verifier(capacity=3)
        for _ in range(10):
            await verifier.verify(a_token(credential_id=str(ids.new_id())))

        assert len(verifier._verified) == 3


def a_revocation(**fields: str) -> Revocation:
    revocation = Revocation(**fields)  # type: ignore[arg-type]  # names of text fields, from the tests below
    revocation.time.FromDatetime(NOW)
    return revocation


class TestRevocation:
    USER, ORGANIZATION = ids.new_id(), ids.new_id()

    def token(self, now: datetime = NOW) -> str:
        return a_token(
            now=now,
            subject="key_1",
            principal_id=self.USER,
            organization_id=self.ORGANIZATION,
            credential_id="sess_1",
        )

    @pytest.mark.parametrize(
        "fields",
        [
            {"session_id": "sess_1"},
            {"key_id": "key_1"},
            {"user_id": ids.USER.show(USER)},
            {"organization_id": ids.ORGANIZATION.show(ORGANIZATION)},
            {"user_id": ids.USER.show(USER), "organization_id": ids.ORGANIZATION.show(ORGANIZATION)},
        ],
    )
    async def test_kills_what_it_names_seen_before_or_not(self, fields: dict[str, str]) -> None:
        seen, unseen = a_verifier(), a_verifier()
        await seen.verify(self.token())
        for verifier in (seen, unseen):
            verifier.revocations.apply(a_revocation(**fields))
            with pytest.raises(CredentialMissing):
                await verifier.verify(self.token())

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"session_id": "sess_2"},
            {"user_id": ids.USER.show(USER), "organization_id": ids.ORGANIZATION.show(ids.new_id())},
            {"session_id": "sess_1", "user_id": ids.USER.show(ids.new_id())},
        ],
    )
    async def test_spares_what_it_names_in_part(self, fields: dict[str, str]) -> None:
        verifier = a_verifier()
        verifier.revocations.apply(a_revocation(**fields))

        await verifier.verify(self.token())

    async def test_spares_what_was_issued_later_within_the_same_second(self) -> None:
        verifier = a_verifier()
        verifier.revocations.apply(a_revocation(session_id="sess_1"))

        await verifier.verify(self.token(now=NOW + timedelta(milliseconds=1)))

    async def test_is_forgotten_when_no_token_of_its_time_can_live(self) -> None:
        clock = Clock()
        verifier = a_verifier(clock)
        for number in range(100):
            verifier.revocations.apply(a_revocation(session_id=f"sess_{number}"))
        clock.now = NOW + timedelta(minutes=3)
        verifier.revocations.apply(a_revocation(session_id="last"))

        assert len(verifier.revocations._rules) == 1


class TestAssertions:
    KEY = Ed25519PrivateKey.generate()

    def trusted(self, name: str) -> list[Any]:
        # Two keys, as while rotating.
        return [Ed25519PrivateKey.generate().public_key(), self.KEY.public_key()] if name == "kb" else []

    def test_proves_which_process_asks(self) -> None:
        caller = AssertionVerifier(self.trusted).verify(ProcessAssertion.make("kb", self.KEY))

        assert (caller.subject, caller.kind, caller.service) == ("service:kb", "service", "kb")
        assert caller.rank == 0
        assert caller.is_process

    def test_is_taken_once(self) -> None:
        verifier, assertion = AssertionVerifier(self.trusted), ProcessAssertion.make("kb", self.KEY)
        verifier.verify(assertion)

        with pytest.raises(CredentialMissing):
            verifier.verify(assertion)

    def test_of_a_stranger_or_with_a_foreign_key_is_refused(self) -> None:
        for name, key in (("org", self.KEY), ("kb", Ed25519PrivateKey.generate())):
            with pytest.raises(CredentialMissing):
                AssertionVerifier(self.trusted).verify(ProcessAssertion.make(name, key))

    def test_ends_after_half_a_minute_and_the_skew(self) -> None:
        clock = Clock(NOW + timedelta(seconds=35))

        with pytest.raises(TokenExpired):
            AssertionVerifier(self.trusted, clock=clock).verify(ProcessAssertion.make("kb", self.KEY, now=NOW))

    def test_for_longer_than_half_a_minute_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "ASSERTION_LIFETIME", timedelta(minutes=5))
        assertion = ProcessAssertion.make("kb", self.KEY)
        monkeypatch.undo()

        with pytest.raises(CredentialMissing):
            AssertionVerifier(self.trusted).verify(assertion)

    def test_is_no_context_token_and_the_other_way_round(self) -> None:
        with pytest.raises(CredentialMissing):
            AssertionVerifier(self.trusted).verify(a_token())

    def test_forgets_uses_that_cannot_be_repeated(self) -> None:
        clock = Clock()
        verifier = AssertionVerifier(self.trusted, clock=clock)
        for _ in range(50):
            verifier.verify(ProcessAssertion.make("kb", self.KEY, now=clock.now))
        clock.now = NOW + timedelta(minutes=2)
        verifier.verify(ProcessAssertion.make("kb", self.KEY, now=clock.now))

        assert len(verifier._seen) == 1
