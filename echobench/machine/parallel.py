"""Map a function over items in several processes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from echobench.machine.cores import most_threads
from echobench.output import make_console

LARGE_BYTES = 32_000_000
"""Total size from which processes read files faster than one process."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def map_items(
    function: Callable[[Item], Result], items: Sequence[Item], *, in_processes: bool = True
) -> Iterator[Result]:
    """Yield the function's result for each item, in order.

    The function must be defined in a module. Starting processes, one per core, takes a second.
    """
    workers = min(most_threads(smt=True), len(items))
    if not in_processes or workers < 2:
        yield from map(function, items)
        return
    with contextlib.ExitStack() as stack:
        with _safe_path():  # all of them start in these calls
            pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
            stack.enter_context(pool)
            results = pool.map(function, items)
        yield from results


def map_files(
    function: Callable[[Item], Result], items: Sequence[Item], paths: Iterable[Path]
) -> Iterator[Result]:
    """Do as `map_items` for items read from files; use processes and a progress bar if large."""
    from rich.progress import track

    size = 0
    for path in paths:
        with contextlib.suppress(OSError):  # reported when it is read
            size += path.stat().st_size
    large = size > LARGE_BYTES
    console = make_console(stderr=True)
    yield from track(
        map_items(function, items, in_processes=large),
        "reading",
        total=len(items),
        console=console,
        transient=True,
        disable=not (large and console.is_interactive),
    )


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Have the Pythons that start meanwhile import nothing from the current folder.

    A `socket.py` there would end each of them before it could take this process' own path.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _start_worker() -> None:
    """Leave interrupts to the parent process, and exit when it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
