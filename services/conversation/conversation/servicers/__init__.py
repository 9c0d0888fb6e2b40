"""The RPCs of the conversation service: unpack, acquire, call, pack."""
