"""The rules of auth, in plain Python: no clock, no randomness, no database."""
