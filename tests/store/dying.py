"""Processes that die at a chosen moment: at the nth thing that they ask of the system."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

ASKED = ("open", "os.", "shutil.", "tempfile.", "fcntl.")


def moments(action: Callable[[], object], survived: Callable[[], None]) -> int:
    """Run an action in processes that die at its first, second, ... request, up to its end.

    Args:
        action: what is done; each process finds what the one before has left.
        survived: called after each, to check what is there.

    Returns:
        How many died.
    """
    died = 0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads do not survive: fine
            child = os.fork()
        if not child:
            _die_at(died + 1)
            action()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        survived()
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return died
        assert code == 9
        died += 1


def _die_at(number: int) -> None:
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event.startswith(ASKED):
            left -= 1
            if left == 0:
                os._exit(9)  # without flushing, closing or removing anything

    sys.addaudithook(hook)
