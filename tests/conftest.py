"""Servers for the tests of what crosses services."""

pytest_plugins = ["chassis.testing.plugin"]
