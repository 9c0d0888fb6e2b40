"""What org answers, a file per service of the contract: unpack, open a unit of work, call, pack."""
