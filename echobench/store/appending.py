"""What is written: a line is added whole and is on disk, or is not there; a file is replaced whole.

Nothing that is written here is seen half written, neither by another process nor after a crash.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: files have one writer there, as ours have everywhere
    fcntl = None  # type: ignore[assignment] # the module or nothing


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, which is made where there is none; on disk when this returns.

    It is one write to the end of the file, and who else adds to it so waits meanwhile: lines of
    several processes do not mix.

    Raises:
        OSError: it could not be written; the file is as it was before.
    """
    new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(file).st_size
        # A line that was cut off must not take this one with it.
        cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        left = memoryview((b"\n" if cut else b"") + line.encode() + b"\n")
        try:
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if new:
        _sync_folder(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole, as `replace_bytes` does."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; who reads it meanwhile finds what was there before.

    Raises:
        OSError: it could not be written; the file is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def rescue(path: Path, line: str) -> Path | None:
    """Keep a line that its file does not take, in a file in the system's temporary folder.

    Its name is such that it can be moved into the folder of `path`. Where that cannot be
    written either, the line is printed on stderr.

    Returns:
        The file; None where it is printed.
    """
    kept = None
    try:
        file, name = tempfile.mkstemp(prefix=f"{path.stem}-rescued-", suffix=path.suffix)
        os.close(file)
        kept = Path(name)
        append_line(kept, line)
    except OSError:
        if kept is not None:
            with contextlib.suppress(OSError):
                kept.unlink()  # it would be an empty one
        print(line, file=sys.stderr, flush=True)
        return None
    return kept


def _sync_folder(folder: Path) -> None:
    """Have a file's name on disk too, where folders can be asked for that."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
