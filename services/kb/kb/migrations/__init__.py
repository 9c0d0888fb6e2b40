"""The history of schema `kb`."""
