"""The front of the fleet: REST, SSE and WebSocket over gRPC."""
