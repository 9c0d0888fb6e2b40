"""What org can do: use cases that take a unit of work, and classes where a use case also needs the network."""
