"""Options that several verbs share, and the parsing of their values."""

from __future__ import annotations

import enum
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.errors import UsageError

# Records that are read or written.
Results = Annotated[Path, typer.Option("--results", metavar="FOLDER", help="Folder of the records")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Read the smoke runs instead of the real records")
]
RecordPaths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Files of records, or folders with all files in them"),
]
PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Plugin to load from a file, without installing it; repeatable",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]

# Filters of what is recorded.
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="NAME", help="Show only this task; repeatable (default: all)"),
]
Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend", metavar="NAME", help="Show only this backend; repeatable (default: all)"
    ),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine", metavar="NAME", help="Show only this engine; repeatable (default: all)"
    ),
]
Divisions = Annotated[
    list[str] | None,
    typer.Option(
        "--division",
        metavar="NAME",
        help="Show only this division, closed or open; repeatable (default: both)",
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Show only trials with this status, e.g. missed; repeatable (default: all)",
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", metavar="N", help="Show only this seed; repeatable (default: all)"),
]

# How workers run: the verbs that start processes share these.
BackendsToRun = Annotated[
    list[str] | None,
    typer.Option(
        "--backend", metavar="NAME", help="Backend to run; repeatable (default: all that can)"
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="cpu|gpu", help="Device that the backends use")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Threads of each worker (default: all cores)"),
]
Timeout = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="TIME", help="Stop a worker after this long, e.g. 90s, 10m or 2h"
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        help="Stop a trial whose processes use more memory, e.g. 500M or 4G (default: no limit)",
    ),
]
Retries = Annotated[
    int, typer.Option("--retries", metavar="N", help="How often to retry a failed trial")
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="Where trials run: local, ray, slurm or a plugin's; NAME or NAME[key=value,...]",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Address of the executor's cluster (default: the executor finds it)",
    ),
]
Observe = Annotated[
    list[str] | None,
    typer.Option(
        "--observe",
        metavar="NAME",
        help="Observer to report every trial to, e.g. tensorboard; repeatable (default: none)",
    ),
]


class Format(enum.StrEnum):
    """Formats of a table."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"


class TableFormat(enum.StrEnum):
    """Formats of the results table: those of any table, and a file for data frames."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    PARQUET = "parquet"


PrintFormat = Annotated[Format, typer.Option("--format", help="Format of the output")]


class Clock(enum.StrEnum):
    """What the time to target includes."""

    TRAIN = "train"
    COMPILE = "compile"
    WALL = "wall"


def seconds(option: str, text: str) -> float:
    """Return a duration such as 90s, 10m or 2h in seconds; the error message names `option`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}
    value = float(match[1]) * factor[match[2] or "s"] if match else 0.0
    if not value:
        raise UsageError(f"{option}: expected a time such as 90s, 10m or 2h; received {text!r}")
    return value


def size(option: str, text: str) -> int:
    """Return a size such as 500M or 4G in bytes; the error message names `option`."""
    # pydantic.ByteSize reads 4G as 4,000,000,000 bytes, a bare 4 as bytes, and `4G!` without error.
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    match = re.fullmatch(rf"{number}([KMGT])(?:i?B)?", text.strip(), re.IGNORECASE)
    factor = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    value = int(float(match[1]) * factor[match[2].upper()]) if match else 0
    if not value:
        raise UsageError(f"{option}: expected a size such as 500M or 4G; received {text!r}")
    return value


def memory_limit_of(text: str | None) -> int | None:
    """Return `--memory-limit` in bytes, or None for no limit."""
    return None if text is None else size("--memory-limit", text)


def retries_of(number: int) -> int:
    """Return `--retries`; refuse a negative number."""
    if number < 0:
        raise UsageError(f"--retries: expected 0 or more; received {number}")
    return number


def whole(option: str, text: str, expected: str) -> int:
    """Return a whole number; the error message names `option` and what it expects."""
    if not re.fullmatch(r"-?\d+", text):
        raise UsageError(f"{option}: expected {expected}; received {text!r}")
    return int(text)


def must_be_folder(results: Path) -> None:
    """Refuse a `--results` that is not an existing folder."""
    if not results.is_dir():
        raise UsageError(f"--results: expected a folder of records; received {str(results)!r}")


def needs(verb: str, extra: str, *packages: str) -> None:
    """Refuse a verb whose optional packages are not installed; the message names the extra."""
    from echobench.core.backend import why_missing

    missing = why_missing(packages, extra)
    if missing is not None:
        raise UsageError(f"{verb}: {missing}")


def command_line() -> list[str]:
    """Return the command as records keep it."""
    return ["echobench", *sys.argv[1:]]
