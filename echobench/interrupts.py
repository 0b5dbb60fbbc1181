"""Turn signals into one KeyboardInterrupt, raised when no work is half done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
EXIT_CODE = 130
AGAIN_S = 0.05
"""Delay before an interrupt that Python dropped is sent again."""


class Interrupt(KeyboardInterrupt):
    """The interrupt that a signal causes."""


class _State:
    """State of the process, for its signal handlers.

    Attributes:
        shields: number of `shielded` blocks entered.
        pending: whether a signal arrived in one of them.
        signals: how many have arrived.
        before_call: how many had arrived as the plugin's code began that runs; None outside.
        work_so_far: what the message of an interrupt says about finished work.
    """

    shields = 0
    pending = False
    signals = 0
    before_call: int | None = None
    work_so_far: Callable[[], str] = staticmethod(lambda: "nothing was begun")


_thread = threading.local()


def catch() -> None:
    """Make each of `SIGNALS` raise KeyboardInterrupt from now on."""
    for name in SIGNALS:
        number = getattr(signal, name, None)
        # Shells start background jobs with SIGINT ignored; handle it all the same. But a
        # command started with `nohup` must outlive the terminal.
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            continue
        signal.signal(number, _handle)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _resend_dropped


def ignore() -> None:
    """Ignore further signals while the process ends, and keep its exit code."""
    for name in SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # If an interrupt arrives inside `exec` (dataclasses use it), `python -m` ends by SIGINT even
    # though the interrupt was caught. Python remembers only the last `exec`, so run another.
    exec("")  # noqa: S102 # runs no code


def _handle(number: int, frame: object) -> None:
    _State.signals += 1
    if _State.shields:
        _State.pending = True
    elif not _is_unwinding():
        if _State.before_call is not None and _State.signals > _State.before_call + 1:
            # The code has swallowed the first, and would this one. Workers end with this process.
            os.write(2, f"{message()}\n".encode())
            os._exit(EXIT_CODE)
        raise Interrupt


def _resend_dropped(arguments: UnraisableHookArgs) -> None:
    """Send an interrupt again that was raised in a finalizer or a weak reference's callback.

    Python drops such exceptions with a message on stderr, and the import system alone has
    thousands of such callbacks.
    """
    if isinstance(arguments.exc_value, KeyboardInterrupt):
        _State.signals -= 1  # it is the same one
        threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(arguments)


def _is_unwinding() -> bool:
    """Return whether an interrupt is being handled, which a second one must not cut short."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextmanager
def shielded() -> Iterator[None]:
    """Delay an interrupt until the end of the block."""
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
        if _State.pending and not _State.shields:
            _State.pending = False
            if not _is_unwinding():
                raise Interrupt


@contextmanager
def not_swallowed() -> Iterator[None]:
    """Raise an interrupt after the block if it arrives in it, and the block's code swallows it.

    A second one ends the process at once, for code that swallows it need not return.
    """
    if not is_main_thread():
        yield  # no other thread has a signal's exception raised in it
        return
    before = _State.signals
    outer, _State.before_call = _State.before_call, before
    try:
        yield
        if _State.signals > before and not _State.shields:
            raise Interrupt
    finally:
        _State.before_call = outer


def pass_on(error: BaseException) -> None:
    """Raise an interrupt if an exception is a signal's, or was raised while handling one."""
    if _is_signals(error):
        raise KeyboardInterrupt from error


def _is_signals(error: BaseException) -> bool:
    # Code may raise a KeyboardInterrupt of its own; without our handlers it looks like a signal's.
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Interrupt):
            return True
        cause = cause.__context__
    # A library may take ours and raise another in its place, as Ray does.
    is_ours = signal.getsignal(signal.SIGINT) is _handle
    return isinstance(error, KeyboardInterrupt) and (_State.signals > 0 or not is_ours)


def postpone() -> None:
    """Raise the interrupt that is being handled at the end of the next shielded block instead.

    In another thread than the main one this does nothing: the main thread has its own already.
    """
    if is_main_thread():
        _State.pending = True


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Have `check` interrupt this thread once the event is set: no signal reaches it."""
    outer, _thread.event = getattr(_thread, "event", None), event
    try:
        yield
    finally:
        _thread.event = outer


def check() -> None:
    """Raise an interrupt if this thread is to stop: see `stopped_by`."""
    event = getattr(_thread, "event", None)
    if event is not None and event.is_set():
        raise Interrupt


def is_main_thread() -> bool:
    """Return whether this is the thread in which signals are handled."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def on_interrupt_say(work_so_far: str | Callable[[], str]) -> Iterator[None]:
    """If the block is interrupted, say this about the finished work; a function is called then."""
    said = (lambda: work_so_far) if isinstance(work_so_far, str) else work_so_far
    before, _State.work_so_far = _State.work_so_far, staticmethod(said)
    yield
    _State.work_so_far = before  # not after an interrupt: the message is printed at the very end


def message() -> str:
    """Return the message of an interrupt."""
    return f"interrupted: {_State.work_so_far()}"
