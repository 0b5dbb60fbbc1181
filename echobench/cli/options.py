"""Options that several verbs take, and how they are read."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated

import typer

from echobench.errors import UsageError

Results = Annotated[Path, typer.Option("--results", help="Folder of the records.")]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A plugin that is not installed: FILE.py.")
]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this one; repeat.")]
Backends = Annotated[list[str] | None, typer.Option("--backend", help="Only this one; repeat.")]
Engines = Annotated[list[str] | None, typer.Option("--engine", help="Only this one; repeat.")]
Divisions = Annotated[
    list[str] | None, typer.Option("--division", help="Only this one, closed or open; repeat.")
]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", help="Only trials that ended so, such as missed; repeat."),
]
Seeds = Annotated[list[int] | None, typer.Option("--seed", help="Only this one; repeat.")]
Observe = Annotated[
    list[str] | None, typer.Option("--observe", help="Tell an observer of every trial; repeat.")
]
MemoryLimit = Annotated[
    str | None, typer.Option(help="End a trial whose processes hold more: 500M, 4G.")
]
Retries = Annotated[int, typer.Option(help="Times that a trial is run again where it failed.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


class Format(enum.StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"


class TableFormat(enum.StrEnum):
    """How the table of results is printed: as any table, or as a file for data frames."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    PARQUET = "parquet"


class Clock(enum.StrEnum):
    """What counts into the time to target."""

    TRAIN = "train"
    COMPILE = "compile"
    WALL = "wall"


def seconds(option: str, text: str) -> float:
    """Return a time such as 90s, 10m or 2h in seconds; `option` is named where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}
    value = float(match[1]) * factor[match[2] or "s"] if match else 0.0
    if not value:
        raise UsageError(f"{option}: expected a time such as 90s, 10m or 2h; received {text!r}")
    return value


def size(option: str, text: str) -> int:
    """Return a size such as 500M or 4G in bytes; `option` is named where it is none."""
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    match = re.fullmatch(rf"{number}([KMGT])(?:i?B)?", text.strip(), re.IGNORECASE)
    factor = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    value = int(float(match[1]) * factor[match[2].upper()]) if match else 0
    if not value:
        raise UsageError(f"{option}: expected a size such as 500M or 4G; received {text!r}")
    return value


def memory_limit_of(text: str | None) -> int | None:
    """Return `--memory-limit` in bytes; None where there is none."""
    return None if text is None else size("--memory-limit", text)


def retries_of(number: int) -> int:
    """Return `--retries`.

    Raises:
        UsageError: it is negative.
    """
    if number < 0:
        raise UsageError(f"--retries: expected 0 or more; received {number}")
    return number


def whole(option: str, text: str, expected: str) -> int:
    """Return a whole number; `option` is named where it is none."""
    if not re.fullmatch(r"-?\d+", text):
        raise UsageError(f"{option}: expected {expected}; received {text!r}")
    return int(text)


def must_be_folder(results: Path) -> None:
    """Refuse what is no folder of records.

    Raises:
        UsageError: it is not there.
    """
    if not results.is_dir():
        raise UsageError(f"--results: expected a folder of records; received {str(results)!r}")


def needs(verb: str, extra: str, *packages: str) -> None:
    """Say which extra a verb needs, where one of its packages is not installed.

    Raises:
        UsageError: one is missing.
    """
    from echobench.core.backend import why_missing

    missing = why_missing(packages, extra)
    if missing is not None:
        raise UsageError(f"{verb}: {missing}")
