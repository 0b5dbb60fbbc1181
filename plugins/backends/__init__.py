"""One backend a file: the same functions, in the same order."""
