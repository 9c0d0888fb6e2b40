"""The history of the schema `org`."""
