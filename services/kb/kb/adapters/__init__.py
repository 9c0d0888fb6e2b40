"""What kb uses of the outside world, behind the ports of `kb.domain.ports`."""
