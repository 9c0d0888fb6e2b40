"""Peers and providers of the agent service."""
