"""Names of organizations in addresses."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from org.domain.slugs import MAX_LENGTH, slug_from, with_suffix

PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class TestSlugFrom:
    @pytest.mark.parametrize(
        ("name", "slug"),
        [
            ("Acme", "acme"),
            ("Acme & Sons, Ltd.", "acme-sons-ltd"),
            ("Ada's organization", "adas-organization"),
            ("  Käse   GmbH ", "kase-gmbh"),
            ("北京", "organization"),
            ("---", "organization"),
            ("a" * 100, "a" * 63),
        ],
    )
    def test_keeps_letters_and_digits(self, name: str, slug: str) -> None:
        assert slug_from(name) == slug

    @given(st.text(max_size=200))
    def test_is_always_a_slug(self, name: str) -> None:
        slug = slug_from(name)

        assert PATTERN.fullmatch(slug)
        assert len(slug) <= MAX_LENGTH


class TestWithSuffix:
    @given(st.text(max_size=200))
    def test_stays_a_slug_and_tells_apart(self, name: str) -> None:
        slug = with_suffix(slug_from(name), "0a1b2c3d")

        assert PATTERN.fullmatch(slug)
        assert len(slug) <= MAX_LENGTH
        assert slug.endswith("-0a1b2c3d")
