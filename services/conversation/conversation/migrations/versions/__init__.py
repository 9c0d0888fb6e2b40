"""The history of schema `conversation`."""
