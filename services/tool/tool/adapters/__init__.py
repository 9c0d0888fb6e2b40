"""How tools of each kind are executed."""
