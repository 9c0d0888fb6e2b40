"""Rules of the tree as tests."""
