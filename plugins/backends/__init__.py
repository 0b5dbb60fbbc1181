"""Backends and peers, one a file: the same functions, in the same order."""
