"""Standard output and error that outlast their readers, and consoles that fit them."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console
    from typing_extensions import Buffer

GONE = (errno.EPIPE, errno.ECONNRESET)
"""Errors of a write that nobody reads."""
FORCED = ("FORCE_COLOR", "CLICOLOR_FORCE")
"""Variables that ask for colours without a terminal."""
STREAMS = {"stdout": 1, "stderr": 2}


class LastingStream(io.FileIO):
    """A file descriptor whose writes succeed: nothing ends a verb but its own result.

    A reader that goes away (`| head`, a terminal that is closed) has read what it wanted; what
    follows goes nowhere. So it does after another error, which `failure` keeps.
    """

    failure: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_terminal = self.isatty()

    def write(self, data: Buffer, /) -> int:
        """Write bytes; return how many were taken."""
        try:
            while (written := super().write(data)) is None:  # another process made it not block
                select.select([], [self], [])
            return written
        except OSError as error:
            gone = error.errno in GONE or (self._is_terminal and error.errno == errno.EIO)
            if not gone:
                self.failure = error
            _open_null(self.fileno())
            return memoryview(data).nbytes


class _LastingBuffer(io.BufferedWriter):
    """A buffer that `close` only flushes: a plugin's code may close what it did not open."""

    def close(self) -> None:
        """Write what is buffered."""
        self.flush()


class _LastingText(io.TextIOWrapper):
    """A text stream that cannot be closed or detached, for the same reason."""

    def close(self) -> None:
        """Write what is buffered."""
        self.flush()

    def detach(self) -> NoReturn:
        """Refuse."""
        raise io.UnsupportedOperation("this stream is echobench's: it cannot be detached")


def prepare() -> None:
    """Make standard output and error last; ignore a size of the terminal that is none.

    A descriptor that is closed (`>&-`) is opened on the null device: else the next file to be
    opened got its number, and what is printed.
    """
    for number in (0, *STREAMS.values()):
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)
    for name, number in STREAMS.items():
        before = getattr(sys, name)
        if before is not getattr(sys, f"__{name}__"):
            continue  # a test's
        stream = _LastingText(
            _LastingBuffer(LastingStream(number)),
            encoding=before.encoding if before else "utf-8",
            # A character that it cannot show costs no table.
            errors="backslashreplace",
            line_buffering=name == "stderr" or os.isatty(number),
        )
        setattr(sys, name, stream)
    for name in _sizes_that_are_none():
        del os.environ[name]


def failures() -> Iterator[str]:
    """Flush standard output and error; yield in words what could not be written."""
    for name in STREAMS:
        stream = getattr(sys, name)
        stream.flush()
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, LastingStream) and raw.failure is not None:
            yield f"{name}: {raw.failure.strerror}; what follows was not written"


def make_console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """Return a console for a file, standard output by default.

    It animates and moves the cursor on a terminal only. Elsewhere it has colours if
    `FORCE_COLOR` or `CLICOLOR_FORCE` asks for them, but not in a file of the caller's.
    """
    from rich.console import Console

    environment = dict(os.environ)
    for name in _sizes_that_are_none():
        del environment[name]
    stream = file or (sys.stderr if stderr else sys.stdout) or io.StringIO()
    if stream.isatty():
        return Console(
            file=stream,
            force_terminal=environment.get("TTY_COMPATIBLE") != "0",
            _environ=environment,
        )
    forced = any(environment.get(name, "0") not in {"", "0"} for name in FORCED)
    return Console(
        file=stream,
        force_terminal=False,
        force_interactive=False,
        color_system="standard" if forced and stream in {sys.stdout, sys.stderr} else None,
        _environ=environment,
    )


def _sizes_that_are_none() -> list[str]:
    """Return which of these variables hold no number of columns or lines."""
    sizes = {name: os.environ.get(name, "1") for name in ("COLUMNS", "LINES")}
    return [name for name, size in sizes.items() if not (size.isdecimal() and int(size) > 0)]


def _open_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(null, True)
        return
    os.dup2(null, number)
    os.close(null)
