"""Commands on real terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Sequence
from pathlib import Path


def on_a_terminal(
    command: Sequence[str],
    columns: int,
    lines: int,
    *,
    term: str,
    folder: Path | None = None,
    typed: str = "",
) -> tuple[int, str]:
    """Run a command on a new terminal of this size; return exit code and all that it wrote.

    What is `typed` waits there for the command to read it.
    """
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.chdir(folder or ".")
        os.execve(command[0], [*command], {**os.environ, "TERM": term})
    os.write(terminal, typed.encode())
    written = b""
    try:
        while chunk := os.read(terminal, 1 << 16):
            written += chunk
    except OSError:
        pass  # so Linux says that the other end is closed
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), written.decode()
