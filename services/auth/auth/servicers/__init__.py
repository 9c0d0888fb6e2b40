"""The RPCs of auth: unpack, acquire, call, pack."""
