"""Trials that are run again where they failed, because that was asked for; each is told of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from echobench.trial.record import Record


def run(
    once: Callable[[Path], list[Record]],
    log: Path,
    retries: int,
    again: Callable[[int], None] = lambda number: None,
) -> list[Record]:
    """Run a trial, or trials that share a process, up to `retries` times more while it fails.

    What is `timeout`, `unsupported` or `unavailable` would be so again. Where there were
    several attempts, the records are the last one's, and their provenance tells of each.

    Args:
        once: makes one attempt, given the file that takes its log.
        log: the first attempt's; those of later ones lie beside it.
        retries: how often it may be run again.
        again: called before each further attempt with its number, from 2 on.
    """
    told: list[list[dict[str, object]]] = []
    for number in range(1, retries + 2):
        if number > 1:
            again(number)
        began = time.monotonic()
        path = log if number == 1 else log.with_name(f"{log.stem}-attempt{number}{log.suffix}")
        records = once(path)
        wall_s = time.monotonic() - began
        told.append([{"status": r.status, "reason": r.reason, "wall_s": wall_s} for r in records])
        if not any(record.status == "failed" for record in records):
            break
    if len(told) > 1:
        for record, attempts in zip(records, zip(*told, strict=True), strict=True):
            record.provenance["attempts"] = [*attempts]
    return records
