"""Embedders: a model that runs here, and any OpenAI-compatible provider."""
