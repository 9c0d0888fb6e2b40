"""Fixtures of the tool service's tests."""

pytest_plugins = ["chassis.testing.plugin"]
