"""The whole fleet on one machine, with its servers."""
