"""Peers of the conversation service."""
