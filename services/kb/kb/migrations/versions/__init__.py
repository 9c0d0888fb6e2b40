"""The history of schema `tool`."""
