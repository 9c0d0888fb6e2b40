"""Journeys through the gateway of a running fleet."""
