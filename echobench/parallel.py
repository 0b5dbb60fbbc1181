"""Work in pieces, in processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from echobench.harness import machine

Piece = TypeVar("Piece")
Made = TypeVar("Made")


def mapped(
    function: Callable[[Piece], Made], pieces: Sequence[Piece], *, apart: bool = True
) -> Iterator[Made]:
    """Yield what a function makes of each piece, in order.

    Args:
        function: of a module, so that another process finds it.
        pieces: what it takes.
        apart: whether to use a process for each core; they take a second to start.
    """
    workers = min(machine.cores(), len(pieces))
    if not apart or workers < 2:
        yield from map(function, pieces)
        return
    # An interrupt is the parent's to deal with.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    with pool:
        yield from pool.map(function, pieces)
