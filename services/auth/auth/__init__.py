"""Who a caller is: people, keys, sessions and context tokens."""
