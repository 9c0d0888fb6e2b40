"""The RPCs of kb: unpack, acquire, call, pack."""
