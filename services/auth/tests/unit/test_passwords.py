"""Laws of password hashing."""

import time

from auth.adapters.passwords import Argon2Passwords


class TestArgon2Passwords:
    async def test_accepts_only_the_right_password(self) -> None:
        hasher = Argon2Passwords(concurrency=2)
        stored = await hasher.hash("correct horse")
        assert await hasher.verify("correct horse", stored)
        assert not await hasher.verify("correct horsf", stored)

    async def test_uses_argon2id_with_19_mib_and_two_passes(self) -> None:
        assert (await Argon2Passwords(concurrency=1).hash("x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")

    async def test_takes_as_long_for_nobody_and_says_no(self) -> None:
        hasher = Argon2Passwords(concurrency=1)
        stored = await hasher.hash("secret")
        assert not await hasher.verify("secret", None)
        pairs = [(await _cpu_seconds(hasher, stored), await _cpu_seconds(hasher, None)) for _ in range(7)]
        known, unknown = (min(column) for column in zip(*pairs, strict=True))
        assert 0.5 < unknown / known < 2

    async def test_refuses_a_broken_hash(self) -> None:
        assert not await Argon2Passwords(concurrency=1).verify("x", "not a hash")


async def _cpu_seconds(hasher: Argon2Passwords, stored: str | None) -> float:
    # Of the processor and not of the clock, which says more about the other tests on the machine.
    start = time.process_time()
    await hasher.verify("wrong", stored)
    return time.process_time() - start
