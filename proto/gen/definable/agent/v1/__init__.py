"""Generated from the contracts in proto/; see proto/README.md."""
