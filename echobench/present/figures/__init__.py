"""Figures of recorded trials, drawn with matplotlib (an extra).

`lines.py` draws curves, `bars.py` a row per cell, `sizes.py` the cost of an update by size;
`style.py` holds what they share. Each `write_...` takes the file and the records of each line,
by panel, and raises UsageError if there is nothing to draw or the file cannot be written.
"""
