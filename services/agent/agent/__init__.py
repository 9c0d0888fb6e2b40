"""Agents, models and durable runs."""
