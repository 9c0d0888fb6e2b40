"""The RPCs of the tool service: unpack, acquire, call, pack."""
