"""How org reaches its peers, and what rings when the feed grows."""
