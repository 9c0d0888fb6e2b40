"""Laws of choosing keys."""

from datetime import UTC, datetime, timedelta

from auth.domain.issuer import KeyTimes, choose_signer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class TestChooseSigner:
    def test_a_new_key_signs_only_from_its_time_on(self) -> None:
        old = KeyTimes(kid="old", sign_from=NOW - HOUR, retire_time=NOW + 2 * HOUR)
        new = KeyTimes(kid="new", sign_from=NOW + HOUR, retire_time=None)
        assert choose_signer([old, new], NOW) is old
        assert choose_signer([old, new], NOW + HOUR) is new

    def test_a_retired_key_neither_signs_nor_verifies(self) -> None:
        retired = KeyTimes(kid="old", sign_from=NOW - HOUR, retire_time=NOW)
        assert not retired.is_published(NOW)
        assert choose_signer([retired], NOW) is None
