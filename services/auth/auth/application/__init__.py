"""What auth does, one function or class a use case."""
