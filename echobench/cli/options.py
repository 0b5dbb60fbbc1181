"""Options that several verbs share, and the parsing of their values."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from echobench.errors import UsageError

SEPARATOR = re.compile(r",(?![^\[\]]*\])")
"""A comma between two values: in NAME[key=value,...] it is none."""


def argument(metavar: str, help: str) -> Any:
    """Describe a positional argument."""
    return typer.Argument(metavar=metavar, help=help)


def option(metavar: str, help: str, *names: str) -> Any:
    """Describe an option with a value, whose name is its parameter's by default."""
    return typer.Option(*names, metavar=metavar, help=help, callback=_one_value_each)


def numbers(metavar: str, help: str, *names: str) -> Any:
    """Describe an option of whole numbers, which is repeated to give several."""
    return typer.Option(*names, metavar=metavar, help=help, parser=_whole)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise UsageError(
            f"expected a whole number; received {text!r}; repeat the option to give several"
        )
    return int(text)


def _one_value_each(parameter: typer.CallbackParam, values: Any) -> Any:
    """Return the values; refuse one of an option that is repeated to give several at once."""
    name = parameter.opts[0]
    for value in values if isinstance(values, list | tuple) else ():
        is_file = isinstance(value, Path) and value.exists()
        is_variable = name == "--env" and "=" in str(value)
        if not is_file and not is_variable:  # these may hold commas
            _must_be_one(name, str(value))
    return values


def _must_be_one(name: str, value: str) -> None:
    parts = SEPARATOR.split(value)
    if len(parts) > 1:
        repeated = " ".join(f"{name} {part.strip()}" for part in parts if part.strip())
        raise UsageError(
            f"{name}: expected one value; received {value!r}; repeat the option: {repeated}"
        )


def flag(name: str, help: str) -> Any:
    """Describe an option without a value."""
    return typer.Option(name, help=help)


def _filter(metavar: str, which: str, name: str, default: str = "all") -> Any:
    return option(metavar, f"Show only {which}; repeatable (default: {default})", name)


# Records that are read or written.
Results = Annotated[Path, option("FOLDER", "Folder of the records", "--results")]
Quick = Annotated[bool, flag("--quick", "Read the smoke runs instead of the real records")]
RecordPaths = Annotated[
    list[Path], argument("PATH", "Files of records, or folders with all files in them")
]
PluginFiles = Annotated[
    list[Path] | None,
    option("FILE.py", "Plugin to load from a file, without installing it; repeatable", "--plugin"),
]
AsJson = Annotated[bool, flag("--json", "Print JSON, for scripts")]

# Filters of what is recorded.
Names = list[str] | None
Tasks = Annotated[Names, _filter("NAME", "this task", "--task")]
Backends = Annotated[Names, _filter("NAME", "this backend", "--backend")]
Engines = Annotated[Names, _filter("NAME", "this engine", "--engine")]
Divisions = Annotated[Names, _filter("NAME", "this division, closed or open", "--division", "both")]
Statuses = Annotated[Names, _filter("STATUS", "trials with this status, e.g. missed", "--status")]
Seeds = Annotated[
    list[int] | None, numbers("N", "Show only this seed; repeatable (default: all)", "--seed")
]

# How workers run: the verbs that start processes share these.
BackendsToRun = Annotated[
    Names, option("NAME", "Backend to run; repeatable (default: all that can)", "--backend")
]
Device = Annotated[str, option("cpu|gpu", "Device that the backends use", "--device")]
Threads = Annotated[
    int | None,
    option(
        "N",
        "Threads of each worker, each on a core of its own (default: one for each core, shared "
        "out among jobs at once; of a quota of the processor's time as many as its whole cores)",
        "--threads",
    ),
]
Jobs = Annotated[
    int | None,
    option(
        "N",
        "Jobs to have under way at once, on this machine each on cores of its own; recorded, and "
        "apart in every table (default: 1; with --executor the executor's)",
        "--jobs",
    ),
]
Smt = Annotated[
    bool,
    flag("--smt", "Let each hyperthread of a core take a thread, instead of one thread a core"),
]
Timeout = Annotated[
    str, option("TIME", "Stop a trial after this long, e.g. 90s, 10m or 2h", "--timeout")
]
MemoryLimit = Annotated[
    str | None,
    option(
        "SIZE",
        "Stop a trial whose processes use more memory, e.g. 500M or 4G (default: no limit)",
        "--memory-limit",
    ),
]
Variables = Annotated[
    Names,
    option(
        "NAME[=VALUE]",
        "Variable to hand to the workers, with its value here or VALUE; recorded, and apart in "
        "every table; repeatable (default: none)",
        "--env",
    ),
]
Retries = Annotated[int, option("N", "How often to retry a failed trial", "--retries")]
ExecutorName = Annotated[
    str,
    option(
        "NAME",
        "Where trials run: local, ray, slurm or a plugin's; NAME or NAME[key=value,...]",
        "--executor",
    ),
]
Address = Annotated[
    str | None,
    option(
        "ADDRESS", "Address of the executor's cluster (default: the executor finds it)", "--address"
    ),
]
Observe = Annotated[
    Names,
    option(
        "NAME",
        "Observer to report every trial to, e.g. tensorboard; repeatable (default: none)",
        "--observe",
    ),
]

Format = Literal["table", "json", "csv", "md"]
PrintFormat = Annotated[Format, typer.Option("--format", help="Format of the output")]
Clock = Literal["train", "compile", "wall"]


def seconds_of(name: str, text: str) -> float:
    """Return a duration such as 90s, 10m or 2h in seconds; the error message names the option."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}
    value = float(match[1]) * factor[match[2] or "s"] if match else 0.0
    if not value:
        raise UsageError(f"{name}: expected a time such as 90s, 10m or 2h; received {text!r}")
    return value


def threads_of(threads: int | None, smt: bool, executor: str, jobs: int | None) -> int:
    """Return `--threads`: by default this machine's cores, shared out among its jobs at once."""
    from echobench.machine.cores import most_threads
    from echobench.plugin.interfaces import LOCAL
    from echobench.trial.selectors import parsed

    if threads is not None:
        return threads
    name, values = parsed("--executor", executor)
    given = values.get("jobs", "1") if jobs is None else str(jobs)
    at_once = int(given) if name == LOCAL and given.isdecimal() else 1
    return max(1, most_threads(smt) // max(1, at_once))


def memory_limit_of(text: str | None) -> int | None:
    """Return `--memory-limit`, such as 500M or 4G, in bytes; None for no limit."""
    if text is None:
        return None
    # pydantic.ByteSize reads 4G as 4,000,000,000 bytes, a bare 4 as bytes, and `4G!` without error.
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    match = re.fullmatch(rf"{number}([KMGT])(?:i?B)?", text.strip(), re.IGNORECASE)
    factor = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    value = int(float(match[1]) * factor[match[2].upper()]) if match else 0
    if not value:
        raise UsageError(f"--memory-limit: expected a size such as 500M or 4G; received {text!r}")
    return value


def retries_of(number: int) -> int:
    """Return `--retries`; refuse a negative number."""
    if number < 0:
        raise UsageError(f"--retries: expected 0 or more; received {number}")
    return number


def variables_of(given: Sequence[str] | None) -> dict[str, str]:
    """Return the variables of `--env`: NAME=VALUE, or NAME with the value that it has here."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--env: expected NAME or NAME=VALUE; received {text!r}")
        if not equals:
            if name not in os.environ:
                raise UsageError(
                    f"--env {name}: it is not set here; write --env {name}=VALUE, or set it"
                )
            value = os.environ[name]
        if found.setdefault(name, value) != value:
            raise UsageError(f"--env {name}: given twice, with different values")
    return found


def filters(**chosen: Sequence[object] | None) -> dict[str, list[str]]:
    """Return the values chosen for each field, as text; none if the option was not given."""
    return {field: [*map(str, values or [])] for field, values in chosen.items()}


def files_of(verb: str, paths: Sequence[Path], output: Path | None = None) -> list[Path]:
    """Return the files of records in paths, except those in the output; refuse to have none."""
    from echobench.store.reading import is_blank, record_files

    for path in paths:
        if not path.exists():
            raise UsageError(f"{verb}: expected files or folders of records; received {path}")
    found = dict.fromkeys(file for path in paths for file in record_files(path, deep=True))
    files = [file for file in found if output not in file.parents]
    if all(map(is_blank, files)):
        raise UsageError(f"{verb}: no records in {', '.join(map(str, paths))}")
    return files


def must_be_folder(results: Path) -> None:
    """Refuse a `--results` that is not an existing folder."""
    if not results.is_dir():
        hint = "" if results.exists() else ", which is not there: `echobench run` writes one"
        raise UsageError(
            f"--results: expected a folder of records; received {str(results)!r}{hint}"
        )


def needs(verb: str, extra: str, *packages: str) -> None:
    """Refuse a verb whose optional packages are not installed; the message names the extra."""
    from echobench.core.backend import why_missing

    missing = why_missing(packages, extra)
    if missing is not None:
        raise UsageError(f"{verb}: {missing}")


def command_line() -> list[str]:
    """Return the command as records keep it."""
    return ["echobench", *sys.argv[1:]]
