"""Tools: definitions and their execution."""
