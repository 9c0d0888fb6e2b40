"""What is written by hand, since the contracts can't say it."""
