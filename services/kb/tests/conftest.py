"""Fixtures of kb's tests."""

pytest_plugins = ["chassis.testing.plugin"]
