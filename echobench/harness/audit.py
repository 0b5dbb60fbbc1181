"""Train recorded trials again on the reference backend, and say which come out otherwise.

Data and weights of a seed are the same everywhere, so whoever has the record can train the trial
again. Up to the fingerprint's epoch the losses are the same within rounding. Later rounding has
grown until the losses of two honest backends differ by as much as those of two seeds; but their
accuracies at each evaluation, and the updates that they need, stay close to each other.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.errors import EchobenchError, UsageError
from echobench.harness import launch
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.referee import is_task_installed
from echobench.text import file_name
from echobench.trial.cell import Cell
from echobench.trial.job import Job
from echobench.trial.record import COUNTED, Record
from echobench.trial.selectors import explained, recorded_task
from echobench.trial.trial import BOUND, Trial

ACCURACY_APART, MOST_APART = 0.05, 0.1
"""How far the accuracies of an evaluation may be apart, and at which share of the evaluations they
may be further apart. Over 5,200 evaluations in `results/` of the same seed on two backends they are
at most 0.014 apart, when all losses have long differed."""
UPDATES_APART = 2.0
"""The most by which the updates to the target may differ, as a ratio. Over 172 pairs in `results/`
of the same seed it is at most 1.42, and at most 1.23 in 99 of 100."""
NAME = ("key", "task", "backend", "engine", "division", "seed")
"""Fields of a record that an audit calls it by."""
Verdict = Literal["reproduced", "not reproduced", "not audited"]


@dataclass(frozen=True)
class Audit:
    """What training a record's trial again has shown.

    Attributes:
        record: the record.
        verdict: `not audited` where there is nothing to compare.
        about: what was compared, what differs, or why nothing was.
    """

    record: Record
    verdict: Verdict
    about: str

    def as_row(self) -> dict[str, Any]:
        """Return the audit as a row of a table."""
        fields = {name: getattr(self.record, name) for name in NAME}
        return {**fields, "verdict": self.verdict, "about": self.about}

    def __str__(self) -> str:
        """Return the audit in a line."""
        name = " ".join(str(getattr(self.record, part)) for part in NAME)
        return f"{name}: {self.verdict}: {self.about}"


def chosen(
    records: Sequence[Record], keys: Collection[str] = (), sample: int | None = None
) -> list[Record]:
    """Return the records to audit: those with such keys, or a random sample of all.

    Nobody can know a sample beforehand: it depends on no seed.

    Raises:
        UsageError: no record has such a key, or there is none that trained.
    """
    trained = [record for record in records if record.status in COUNTED]
    for key in keys:
        if not any(record.key == key for record in trained):
            raise UsageError(f"--key: no record of a trial that trained has the key {key!r}")
    named = [record for record in trained if not keys or record.key in keys]
    if not named:
        raise UsageError("audit: no record of a trial that trained")
    if sample is None or sample >= len(named):
        return named
    return random.SystemRandom().sample(named, sample)


def audit(
    records: Sequence[Record],
    plugins: Plugins,
    folder: Path,
    say: Callable[[str], None],
    *,
    whole: bool = False,
) -> Iterator[Audit]:
    """Train trials again and yield what each shows, those of a cell one after the other.

    Args:
        records: of trials that trained.
        plugins: where their tasks and the reference backend are.
        folder: for logs.
        say: takes a line of progress.
        whole: also train each to its target or the end of its budget, not only up to its
            fingerprint.

    Raises:
        UsageError: no reference backend is installed.
    """
    references = References(plugins, Store(folder))
    groups: dict[Cell, list[tuple[Record, Trial]]] = defaultdict(list)
    for record in records:
        try:
            ours = references.of(_trial(record, plugins))
        except EchobenchError as error:
            yield Audit(record, "not audited", str(error))
            continue
        if ours is None:
            raise UsageError("audit: no reference backend is installed; pip install jax")
        groups[Cell.of(ours)].append((record, ours))
    done = len(records) - sum(map(len, groups.values()))
    for group in groups.values():
        backend = plugins.backends[group[0][1].backend].value
        say(f"[{done + 1}/{len(records)}] {group[0][1].label}: training {len(group)} again ...")
        for (record, ours), found in zip(group, _beginnings(group, backend, folder), strict=True):
            if whole and found.verdict != "not reproduced":
                name = f"{ours.label} {ours.division} seed {ours.seed}"
                say(f"[{done + 1}/{len(records)}] {name}: training it to its end ...")
                found = _to_the_end(record, ours, backend, folder)
            done += 1
            yield _excused(found, plugins) if found.verdict == "not reproduced" else found


def _trial(record: Record, plugins: Plugins) -> Trial:
    """Return a record's trial as this version would plan it.

    Raises:
        EchobenchError: it cannot be trained here.
    """
    if record.beyond and record.beyond.get("trial"):
        raise EchobenchError("a newer echobench trained it, with what this one does not know")
    fields = msgspec.to_builtins(record.trial)
    known = {name: value for name, value in fields.items() if name in Trial.model_fields}
    task = plugins.tasks[record.trial.task]
    try:
        changes = {
            "plugins": [task.plugin],
            "source": task.call(lambda t: recorded_task(t, record.trial.parameters).source_hash()),
            "task_source": task.digest(),
            "bound": 0.0 if record.trial.test_set else record.trial.bound or BOUND,
            "certify": 0,
        }
        return Trial.model_validate({**known, **changes})
    except ValidationError as error:
        raise EchobenchError(f"it cannot be trained here: {explained(error)}") from error


def _excused(found: Audit, plugins: Plugins) -> Audit:
    """Return an audit that shows nothing, if the task's file is another one now."""
    trial = found.record.trial
    task = recorded_task(plugins.tasks[trial.task].value, trial.parameters)
    if is_task_installed(task, found.record.cell, plugins):
        return found
    about = f"the source of its task has changed since, and it comes out otherwise: {found.about}"
    return Audit(found.record, "not audited", about)


def _beginnings(
    group: Sequence[tuple[Record, Trial]], backend: Backend, folder: Path
) -> list[Audit]:
    """Compare records of a cell by their fingerprints, which one process takes again."""
    log = folder / f"{file_name(group[0][1].name)}.log"
    job = Job(kind="reference", trials=[ours for _, ours in group])
    _, *results = launch.work(job, backend, log)
    return [
        _beginning(record, f"{ours.backend} {ours.engine}", result)
        for (record, ours), result in zip(group, results[: len(group)], strict=True)
    ]


def _beginning(record: Record, reference: str, result: dict[str, Any]) -> Audit:
    theirs, taken = result.get("fingerprint"), record.early
    if "reason" in result or theirs is None:
        why = result.get("reason", f"{reference} diverges before")
        return Audit(record, "not audited", f"it could not be trained again: {why}")
    if taken is None or taken.epoch != theirs["epoch"]:
        return Audit(
            record,
            "not audited",
            f"it holds no loss of epoch {theirs['epoch']:,}, and later rounding has grown; "
            "train it to its end with --whole",
        )
    difference = taken.beside(reference, theirs["loss"], theirs["accuracy"]).difference
    if difference is not None:
        return Audit(record, "not reproduced", difference)
    return Audit(
        record,
        "reproduced",
        f"loss {taken.loss:.6g} in epoch {taken.epoch:,}, as {reference} has it",
    )


def _to_the_end(record: Record, ours: Trial, backend: Backend, folder: Path) -> Audit:
    """Train a trial to its end with the reference's fast engine, which passes the parity gate."""
    trial = ours.model_copy(update={"engine": backend.engines[0]})
    log = folder / f"{file_name(trial.name)}-whole.log"
    (again,) = launch.run_job(Job(trials=[trial]), backend, log)
    if again.status not in COUNTED:
        about = f"it could not be trained again: {again.status}, {again.reason}"
        return Audit(record, "not audited", about)
    difference = compared(record, again)
    if difference is not None:
        return Audit(record, "not reproduced", difference)
    return Audit(
        record,
        "reproduced",
        f"{_end(record)}; {again.backend} {again.engine}: {_end(again)}",
    )


def compared(record: Record, again: Record) -> str | None:
    """Return how two trainings of a seed differ beyond what rounding explains; None if not."""
    theirs = {point.epoch: point.accuracy for point in again.evaluations}
    common = [point for point in record.evaluations if point.epoch in theirs]
    apart = [p for p in common if abs(p.accuracy - theirs[p.epoch]) > ACCURACY_APART]
    if len(apart) > MOST_APART * len(common):
        first = apart[0]
        return (
            f"accuracy {first.accuracy:.4g} in epoch {first.epoch:,}, where {again.backend} "
            f"{again.engine} has {theirs[first.epoch]:.4g}; so at {len(apart):,} of "
            f"{len(common):,} evaluations"
        )
    ends = (record.updates_to_target, again.updates_to_target)
    # A trial that did not get there would have needed more than it made.
    needed = [end or one.updates or 0 for end, one in zip(ends, (record, again), strict=True)]
    ratio = max(needed) / max(1, min(needed))
    longer = needed.index(max(needed))
    if any(ends) and ratio > UPDATES_APART and ends[1 - longer] is not None:
        return f"{_end(record)}; {again.backend} {again.engine}: {_end(again)}"
    return None


def _end(record: Record) -> str:
    if record.updates_to_target is not None:
        return f"reached after {record.updates_to_target:,} updates"
    return f"{record.status} after {record.updates or 0:,} updates"
