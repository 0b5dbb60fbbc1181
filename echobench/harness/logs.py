"""A worker's log: bounded while it is written, and its last lines."""

from __future__ import annotations

import contextlib
import os

from echobench.machine import privacy

MOST_BYTES = 16 * 2**20
"""Beyond it, all but the end is dropped."""
END_BYTES = 2**16
"""What is kept of a log that grew too large, and what is read of any."""
LAST_LINES = 20
LONGEST = 500
"""Characters of a line in a record."""


def bound(log: int) -> None:
    """Drop all but the end of a log that has grown too large.

    Args:
        log: descriptor of a file that is written by appending alone, so that what others
            write next stands at its new end.
    """
    size = os.fstat(log).st_size
    if size > MOST_BYTES:
        end = os.pread(log, END_BYTES, size - END_BYTES)
        dropped = f"[echobench: {size - len(end):,} bytes of output were dropped here]\n"
        with contextlib.suppress(OSError):  # a full disk takes the end no more
            os.ftruncate(log, 0)
            os.write(log, dropped.encode() + end)


def tail(log: int) -> list[str]:
    """Return a log's last lines, without what is nobody's affair, each cut to what can be read.

    Args:
        log: descriptor of the file: its folder may be gone by now.
    """
    end = os.pread(log, END_BYTES, max(0, os.fstat(log).st_size - END_BYTES))
    lines = end.decode(errors="replace").splitlines()[-LAST_LINES:]
    return [
        line if len(line) <= LONGEST else f"{line[:LONGEST]} [...]"
        for line in map(privacy.redact, lines)
    ]
