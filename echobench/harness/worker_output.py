"""What a worker writes: events, parsed from bytes that may be anything, and its log, kept short."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pydantic import ValidationError

from echobench.machine import privacy
from echobench.text import shortened
from echobench.trial.job import EVENT, Failure, Progress, Result

MAX_EVENT_BYTES = 64 * 2**20
"""Longer lines are dropped. The longest result of a first-party trial had 74 KB."""
MANY_EVENTS = 100
"""More lines than a healthy worker sends at once."""
MAX_LOG_BYTES = 16 * 2**20
"""A longer log is cut to its end."""
LOG_END_BYTES = 2**16
"""Length of the end that is kept of a log that grew too long, and that is read of any log."""
TAIL_LINES = 20


class LineSplitter:
    """Splits bytes into lines, in linear time and bounded memory.

    Attributes:
        dropped: number of lines longer than `MAX_EVENT_BYTES`, which are left out.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._pending = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in a chunk; keep the rest for the next chunk."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            if not self._too_long:
                yield bytes(self._pending)
            self._pending.clear()
            self._too_long = False
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._too_long:
            return
        if len(self._pending) + len(piece) > MAX_EVENT_BYTES:
            self._too_long = True
            self.dropped += 1
            self._pending = bytearray()
        else:
            self._pending += piece


def parse_events(lines: Iterator[bytes]) -> Iterator[Progress | Result | Failure]:
    """Yield the events among lines; other lines are ignored.

    If more than `MANY_EVENTS` lines arrive together, only the last step of each phase is
    yielded, since no observer keeps up with more.
    """
    together = [*lines]
    held: Progress | None = None
    for line in together:
        event: Progress | Result | Failure | None = None
        with contextlib.suppress(ValidationError):
            event = EVENT.validate_json(line)
        if event is None:
            continue
        step = event if isinstance(event, Progress) and event.look is None else None
        few = len(together) <= MANY_EVENTS
        if held is not None and (few or step is None or step.phase != held.phase):
            yield held
        held = step
        if step is None:
            yield event
    if held is not None:
        yield held


def shorten_log(log: int) -> None:
    """Drop all but the end of a log that has grown too long.

    Args:
        log: descriptor of a file that its writers open for appending, so that what they write
            next stands at its new end.
    """
    size = os.fstat(log).st_size
    if size > MAX_LOG_BYTES:
        end = os.pread(log, LOG_END_BYTES, size - LOG_END_BYTES)
        dropped = f"[echobench: {size - len(end):,} bytes of output were dropped here]\n"
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(log, 0)
            os.write(log, dropped.encode() + end)


def log_tail(log: int) -> list[str]:
    """Return a log's last lines, redacted and shortened.

    Args:
        log: descriptor of the file, since its folder may be gone by now.
    """
    end = os.pread(log, LOG_END_BYTES, max(0, os.fstat(log).st_size - LOG_END_BYTES))
    lines = end.decode(errors="replace").splitlines()[-TAIL_LINES:]
    return [shortened(privacy.redact(line)) for line in lines]
