"""Schema history of auth."""
