"""Figures of what is recorded, drawn with matplotlib, which is an extra; a file a kind."""
