"""Work in pieces, in processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from echobench.machine import facts

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
    workers = min(facts.cores(), len(pieces))
    if not apart or workers < 2:
        yield from map(function, pieces)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        yield from pool.map(function, pieces)


def read(
    function: Callable[[Piece], Made], files: Sequence[Piece], *, large: bool
) -> Iterator[Made]:
    """Do as `mapped` with files that are read; where they are large, in processes, and shown.

    Args:
        function: reads one.
        files: what it takes.
        large: whether it pays to start processes.
    """
    from rich.console import Console
    from rich.progress import track

    yield from track(
        mapped(function, files, apart=large),
        "reading",
        total=len(files),
        console=Console(stderr=True),
        transient=True,
        disable=not (large and sys.stderr.isatty()),
    )


def _begin() -> None:
    """Leave an interrupt to the parent, and end with it, should it be killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
