"""What a worker tells, from bytes to events; a worker may write anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from echobench.trial.messages import EVENT, Failure, Progress, Result

MANY = 100
"""Lines that a trial in order does not tell at once."""
LONGEST = 64 * 2**20
"""Bytes of a line. The longest result of a first-party trial had 74 KB."""


class Lines:
    """Bytes to lines, in time that grows with the bytes alone, and in bounded memory.

    Attributes:
        dropped: lines that were longer than `LONGEST`, and are not among those returned.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._begun = bytearray()
        self._too_long = False

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in a chunk; what follows the last end waits for more."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            if not self._too_long:
                yield bytes(self._begun)
            self._begun.clear()
            self._too_long = False
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._too_long:
            return
        if len(self._begun) + len(piece) > LONGEST:
            self._too_long = True
            self.dropped += 1
            self._begun = bytearray()
        else:
            self._begun += piece


def events(lines: Iterator[bytes]) -> Iterator[Progress | Result | Failure]:
    """Yield the events among lines; a line that is none is a plugin's garbage.

    Where more than `MANY` came together, of the steps of one phase the last alone is told: who
    watches does not keep up with more.
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
        if held is not None and (len(together) <= MANY or step is None or step.phase != held.phase):
            yield held
        held = step
        if step is None:
            yield event
    if held is not None:
        yield held
