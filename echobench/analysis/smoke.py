"""The answer of smoke runs: which cells start, agree with the reference and end in a record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from echobench.analysis.footnotes import listed
from echobench.trial.record import Record
from echobench.trial.trial import Trial

NO_RECORD = "without a record"


def smoke_answer(trials: Iterable[Trial], records: Iterable[Record]) -> str:
    """Return in a sentence how many cells of smoke runs work, and what the others do.

    Args:
        trials: those that were to run.
        records: of them, oldest first: of a trial the last one counts.
    """
    faults = {record.key: _fault(record) for record in records}
    found: dict[str, list[str]] = defaultdict(list)
    for trial in trials:
        cell = f"{trial.label} {trial.backend} {trial.engine} {trial.division}"
        found[cell].append(faults.get(trial.key, NO_RECORD))
    others: dict[str, list[str]] = defaultdict(list)
    for cell, of_cell in found.items():
        # A cell is counted once, by the first trial of it that shows a fault.
        if fault := next(filter(None, of_cell), ""):
            others[fault].append(cell)
    good = len(found) - sum(map(len, others.values()))
    cells = "cell" if len(found) == 1 else "cells"
    what = (
        "starts, agrees with the reference in its first updates and ends"
        if good == 1
        else "start, agree with the reference in their first updates and end"
    )
    counts = [f"{good} of {len(found)} {cells} {what} in a record"]
    counts += [f"{len(names)} {fault} ({listed(names)})" for fault, names in others.items()]
    return "; ".join([*counts, "smoke runs measure nothing"])


def _fault(record: Record) -> str:
    """Return what keeps a trial from being an example of its cell at work; empty for nothing."""
    if record.contradiction is not None:
        return "failed"
    if record.status not in ("reached", "missed"):
        return str(record.status)
    compared = record.parity is not None and not record.unchecked
    return "" if compared else "not compared with a reference"
