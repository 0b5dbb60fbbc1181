"""Signals that ask a command to end: one exception, at a moment when nothing is half done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
AGAIN_S = 0.05
"""Seconds after which an interrupt that Python has dropped comes again."""


class _State:
    """What signal handlers know: they belong to the process.

    Attributes:
        shields: how many blocks must not be left half done just now.
        asked: whether a signal came behind a shield.
        comfort: what is said of the work so far when it ends.
    """

    shields = 0
    asked = False
    comfort = "nothing was begun"


def catch() -> None:
    """Have each of `SIGNALS` raise KeyboardInterrupt, from here on."""
    for name in SIGNALS:
        number = getattr(signal, name, None)
        # A shell starts background jobs with SIGINT ignored, and they are to end too; who
        # starts a command with `nohup` wants it to outlive the terminal.
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            continue
        signal.signal(number, _handle)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _dropped


def ignore() -> None:
    """Have no further signal disturb the end of the process, and no former one its exit code."""
    for name in SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Where an interrupt came while a text was run, as dataclasses are made by, `python -m` would
    # end by SIGINT instead, although it was caught. What was run last is what Python remembers.
    exec("")  # noqa: S102 # nothing


def _handle(number: int, frame: object) -> None:
    if _State.shields:
        _State.asked = True
    elif not _unwinding():
        raise KeyboardInterrupt


def _dropped(told: UnraisableHookArgs) -> None:
    """Have an interrupt come again that came in a finalizer or in a weak reference's callback.

    Python drops what these raise, and says so on stderr; the import system alone has such
    callbacks by the thousand.
    """
    if isinstance(told.exc_value, KeyboardInterrupt):
        threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(told)


def _unwinding() -> bool:
    """Return whether an interrupt is being dealt with: a second one must not cut that short."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextmanager
def shielded() -> Iterator[None]:
    """Put off an interrupt until the end of the block."""
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
        if _State.asked and not _State.shields:
            _State.asked = False
            raise KeyboardInterrupt


@contextmanager
def comforted(comfort: str) -> Iterator[None]:
    """Have an interrupt of the block say something of the work so far."""
    before, _State.comfort = _State.comfort, comfort
    yield
    _State.comfort = before  # not after an interrupt: it is said at the very end


def sentence() -> str:
    """Return what is said of an interrupt."""
    return f"interrupted: {_State.comfort}"
