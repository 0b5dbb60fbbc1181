"""Append lines and replace files so that nothing is ever seen half written.

Neither by another process nor after a crash; an appended line is on disk or is not there at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks; our files have one writer anyway
    fcntl = None  # type: ignore[assignment] # the module or nothing


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, which may not exist yet, and sync it.

    The file is locked meanwhile, so that lines of several processes do not mix.

    Raises:
        OSError: the line could not be written; the file is unchanged.
    """
    new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)  # closing releases it
        size = os.fstat(file).st_size
        # Do not continue a line that was cut off.
        cut_off = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        left = memoryview((b"\n" if cut_off else b"") + line.encode() + b"\n")
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
        sync_folder(path.parent)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file and its folders; readers see the old content or the new, never a part.

    Raises:
        OSError: the file could not be written; it is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rescue(path: Path, line: str) -> Path | None:
    """Write a line that its file did not take to a file in the temporary folder.

    The file's name lets it be moved into the folder of `path`. If it cannot be written either,
    the line is printed on stderr.

    Returns:
        The file; None if the line was printed.
    """
    rescued = None
    try:
        file, name = tempfile.mkstemp(prefix=f"{path.stem}-rescued-", suffix=path.suffix)
        os.close(file)
        rescued = Path(name)
        append_line(rescued, line)
    except OSError:
        if rescued is not None:
            with contextlib.suppress(OSError):
                rescued.unlink()  # empty
        print(line, file=sys.stderr, flush=True)
        return None
    return rescued


def sync_folder(folder: Path) -> None:
    """Sync the names of the files in a folder."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
