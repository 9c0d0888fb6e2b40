"""Fixtures of org's tests."""

pytest_plugins = ["chassis.testing.plugin"]
