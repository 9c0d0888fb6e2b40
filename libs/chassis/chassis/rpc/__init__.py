"""gRPC between the processes of the fleet: who calls, what they may, and how failures travel."""
