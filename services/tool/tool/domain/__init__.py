"""Plain Python: what tools are, how arguments become requests, and what can go wrong."""
