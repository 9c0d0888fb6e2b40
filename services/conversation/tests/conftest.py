"""Fixtures of the conversation service's tests."""

pytest_plugins = ["chassis.testing.plugin"]
