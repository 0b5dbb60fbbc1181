"""Conclusions to eyes: tables, figures, pages, progress, exports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from echobench.errors import UsageError


@contextlib.contextmanager
def writing(output: Path) -> Iterator[None]:
    """Report an output file that cannot be written as wrong usage."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--output {output}: expected a file that can be written; {error.strerror}"
        ) from error
