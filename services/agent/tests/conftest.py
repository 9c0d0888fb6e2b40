"""Fixtures of the agent service's tests: real servers, and stand-ins for kb, tool and org."""

pytest_plugins = ["chassis.testing.plugin"]
