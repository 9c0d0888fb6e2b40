"""Fixtures of auth's tests."""

import sys
from pathlib import Path

import pytest

# What the tests share stands beside them, importable also where auth is installed as a wheel.
sys.path.insert(0, str(Path(__file__).parents[1]))

pytest_plugins = ["chassis.testing.plugin"]


def pytest_configure(config: pytest.Config) -> None:
    """Let tests use EdDSA by its name in the field, as other verifiers of our tokens do."""
    config.addinivalue_line("filterwarnings", "ignore:EdDSA is deprecated")
