"""Extracting text from files that nobody vouches for: `capped` starts a child, `child` is what runs in it.

Nothing here but `capped` and `plain` is imported by the service itself.
"""
