"""Records as a file of pytest-benchmark, which its `compare` reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pandas as pd

from echobench.analysis.frame import CELL, disturbed, frame
from echobench.analysis.pairs import has, median, values
from echobench.analysis.places import remarks
from echobench.errors import UsageError
from echobench.text import file_name, plain
from echobench.trial.cell import Cell, differences
from echobench.trial.record import Machine, Record, cells_of

MEDIANS = (
    "updates_to_target", "epochs_to_target", "seconds_per_update", "sequences_per_s", "epochs",
    "accuracy", "exact_match", "error_bound", "limit_fraction", "compile_s", "wall_s",
    "peak_memory_bytes",
)  # fmt: skip # one line reads better
"""Fields of the record whose medians over seeds are in `extra_info`."""


def of_one_machine(records: Iterable[Record], wanted: str | None = None) -> list[Record]:
    """Return the records of one machine class, since a file of pytest-benchmark is of one machine.

    `wanted` is a part of the class's name; exactly one class must match.
    """
    classes: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        classes[record.machine_class].append(record)
    matching = [name for name in classes if wanted is None or wanted in name]
    if len(matching) != 1:
        raise UsageError(
            "export: expected records of one machine, since a file of pytest-benchmark is of one; "
            f"received those of {' and of '.join(map(repr, sorted(classes))) or 'none'}; "
            "choose with --machine, a part of its name"
        )
    return classes[matching[0]]


def document(records: Sequence[Record], metric: str) -> tuple[dict[str, Any], list[str]]:
    """Return the file's content, and a warning for each cell in which trials lack the metric.

    A benchmark is a cell, and a round is one of its trials; pytest-benchmark's own `Stats`
    computes the statistics over the rounds. First trials that are set apart are no rounds, of which
    a warning says so.
    """
    from pytest_benchmark import __version__
    from pytest_benchmark.stats import Stats

    cells: dict[Cell, list[Record]] = defaultdict(list)
    for cell, record in zip(cells_of(records), records, strict=True):
        cells[cell].append(record)
    benchmarks, warnings = [], []
    for cell, (name, parameter) in _names(cells).items():
        members = sorted(cells[cell], key=lambda record: (record.seed, record.started_at))
        flat = frame(members)
        rounds, count = values(flat, metric).dropna().tolist(), int(has(flat, metric).sum())
        if len(rounds) < count:
            warnings.append(f"{name}: {metric} of {len(rounds)} of {count} trials")
        warnings += remarks(flat)
        if not rounds:
            continue
        stats = Stats()
        for value in rounds:
            stats.update(value)
        first = members[0]
        benchmarks.append(
            {
                "group": group(first),
                "name": name,
                "fullname": name,
                "param": parameter,
                "params": {
                    **{name: getattr(first, name) for name in CELL},
                    "threads": first.trial.threads,
                },
                "extra_info": {"metric": metric, **extra_info(members)},
                "options": {"timer": "worker_clock"},
                "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1},
            }
        )
    if not benchmarks:
        raise UsageError(f"export: expected records with {metric}; found none")
    newest = max(records, key=lambda record: record.started_at)
    content = {
        "machine_info": _machine_info(records),
        "commit_info": _commit_info(newest),
        "benchmarks": sorted(benchmarks, key=lambda benchmark: str(benchmark["name"])),
        "datetime": newest.started_at,
        "version": __version__,
    }
    return _all_plain(content), warnings


def _all_plain(value: Any) -> Any:
    """Make every text of a JSON value `plain`, since pytest-benchmark prints it on a terminal."""
    if isinstance(value, dict):
        return {plain(name): _all_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_all_plain(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def group(record: Record) -> str:
    """Return the group within which pytest-benchmark compares a record."""
    return f"{file_name(record.task)} {file_name(record.division)}"


def extra_info(records: Sequence[Record]) -> dict[str, Any]:
    """Return the `extra_info` of a cell's benchmark.

    `success`, `statuses` and `seeds` count trials; `time_to_target_s` is the Kaplan-Meier
    median with its interval, misses censored; the rest are medians (`MEDIANS`), empty
    if not measured. A trial that failed the parity gate counts as `failed`.
    """
    flat = frame(records)
    counted = flat[flat.counts]
    target = median(flat)
    medians = {name: _median(values(flat, name)) for name in MEDIANS}
    checkouts = [record.provenance.git for record in records]
    return {
        "success": f"{int((flat.status == 'reached').sum())}/{len(counted)}",
        "statuses": dict(Counter(flat.status)),
        "seeds": [record.seed for record in records],
        "time_to_target_s": {"median": target.value, "low": target.low, "high": target.high},
        **medians,
        "disturbed": int(disturbed(flat).sum()),
        "contradicted": sum(record.contradiction is not None for record in records),
        "versions": records[0].trial.versions,
        "commits": sorted({git.commit for git in checkouts if git}),
    }


def _median(column: pd.Series[float]) -> float | None:
    return None if column.isna().all() else float(column.median())


def _names(cells: Mapping[Cell, Sequence[Record]]) -> dict[Cell, tuple[str, str | None]]:
    """Return the name of each cell's benchmark, and the parameter in its brackets, if any.

    Cells that differ in more than task, backend, engine and division have the rest in
    brackets, like pytest's parameters. Names hold only characters of file names.
    """
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell, (record, *_) in cells.items():
        words = (record.task, record.backend, record.engine, record.division)
        alike["-".join(map(file_name, words))].append(cell)
    names: dict[Cell, tuple[str, str | None]] = {}
    for name, members in alike.items():
        for cell, leaves in zip(members, differences(members), strict=True):
            pairs = (f"{key.rpartition('.')[2]}={value}" for key, value in leaves.items())
            parameter = ",".join(map(file_name, pairs))
            names[cell] = (f"{name}[{parameter}]", parameter) if parameter else (name, None)
    return names


def _machine_info(records: Sequence[Record]) -> dict[str, Any]:
    """Return the machine under pytest-benchmark's keys, without facts in which records differ."""
    facts = [msgspec.to_builtins(r.provenance.machine or Machine()) for r in records]
    same = {k: v for k, v in facts[0].items() if all(other.get(k) == v for other in facts)}
    hosts = {record.provenance.host for record in records}
    system, _, release = (same.get("system") or "").partition(" ")
    described = {
        "node": hosts.pop() if len(hosts) == 1 else None,
        "processor": same.get("cpu"),
        "machine": same.get("architecture"),
        "python_version": same.get("python"),
        "system": system or None,
        "release": release or None,
        "memory_bytes": same.get("memory_bytes"),
        "gpus": same.get("gpus"),
    }
    cpu = {"brand_raw": same.get("cpu"), "count": same.get("cores")}
    return {**{k: v for k, v in described.items() if v is not None}, "cpu": cpu}


def _commit_info(record: Record) -> dict[str, Any]:
    git = record.provenance.git
    return {
        "id": git.commit if git else "unversioned",
        "dirty": git.dirty if git else False,
        "time": None,
        "author_time": None,
        "project": "echobench",
        "branch": "(unknown)",
    }
