"""Plain Python: ids, errors and the rules of conversations."""
