"""A small service that the chassis is tested with. It sells nothing."""
