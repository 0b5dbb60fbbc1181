"""The referee: check whether records from elsewhere can be true, and in their own division."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from echobench.core.target import needed
from echobench.core.task import Recipe, Task
from echobench.core.training import PHASES
from echobench.plugin.manager import Plugins
from echobench.store.reading import Complaints, Damage, Line, canonical, decoded, read_numbered
from echobench.trial.cell import Cell, StoredRecipe
from echobench.trial.record import FLOATS, INTEGERS, Record
from echobench.trial.selectors import default_recipe
from echobench.trial.trial import Trial

Severity = Literal["error", "warning"]
LEDGER_TOLERANCE = 0.01
LEAST_TIME = 0.5
"""Of what the median update and their number give, that the target must have taken. There is
no most: the first updates may be slow."""

AMOUNTS = [
    name
    for name in Record.__struct_fields__
    if name in FLOATS | INTEGERS and name.endswith(("_s", "_per_update", "_bytes", "_target"))
]
COUNTS = [name for name in Record.__struct_fields__ if name in INTEGERS - {"seed"}]


@dataclass(frozen=True)
class Finding:
    """A violation of a rule by a record, or a warning to its readers.

    Attributes:
        where: file and line.
        about: the field or the rule.
        message: what was expected and what was received.
    """

    where: str
    severity: Severity
    about: str
    message: str


MOST = 2**53
"""Parsers of JSON read whole numbers from here on differently."""
Rule = Callable[[Record], Iterator[tuple[str, str]]]
"""Yields the violations by a record: the subject and the message of each."""


def validate(
    paths: Iterable[Path], plugins: Plugins, complaints: Complaints | None = None
) -> tuple[list[Finding], int]:
    """Check all records in files; return the findings in order, and the number of non-empty lines.

    Each damaged line that `complaints` names is a finding too.
    """
    found: list[Finding] = []
    damage = complaints or Complaints(say=lambda line: None)
    seen: dict[tuple[str, str, str], tuple[str, bytes]] = {}
    runs: Counter[tuple[str, str]] = Counter()
    count = 0

    def complain(one: Damage) -> None:
        if damage(one):
            found.append(Finding(one.where, "error", one.kind, one.why))

    for path in paths:
        for line, record in read_numbered(path, decoded, complain):
            count += 1
            where = f"{path}:{line.number}"
            found += [Finding(where, *told) for told in faults(record, plugins)]
            found += [
                Finding(where, "error", name, "is there twice in one object; readers differ")
                for name in _twice(line)
            ]
            machine = record.machine_class
            identity = (record.key, machine, record.started_at)
            digest = hashlib.sha256(canonical(record)).digest()
            if identity in seen:
                first, other = seen[identity]
                message = f"the same trial, started at the same time, as {first}"
                if digest == other:
                    message = f"the same record as {first}"
                found.append(Finding(where, "error", "duplicate", message))
            else:
                runs[record.key, machine] += 1
                if runs[record.key, machine] == 2:
                    message = "the same trial was run before; the table takes the later one"
                    found.append(Finding(where, "warning", "repeated", message))
            seen.setdefault(identity, (where, digest))
    found += [
        Finding(str(path), "error", "damaged", f"{more:,} more lines like these")
        for path, more in damage.unnamed()
    ]
    return found, count + damage.counts["damaged"] + damage.counts["newer"]


def faults(record: Record, plugins: Plugins) -> list[tuple[Severity, str, str]]:
    """Return the violations by a record on its own: severity, subject and message of each."""
    unlike = list(_trial(record))
    if any(about == "trial" for about, _ in unlike):
        return [("error", *told) for told in unlike]  # the other rules read the trial
    broken = [*unlike, *(told for rule in RULES for told in rule(record))]
    return [*(("error", *told) for told in broken), *_division(record, plugins)]


def _twice(line: Line) -> list[str]:
    """Return the names that occur more than once in an object of a line."""
    found: list[str] = []

    def pairs(told: list[tuple[str, Any]]) -> None:
        counts = Counter(name for name, _ in told)
        found.extend(name for name, count in counts.items() if count > 1)

    json.loads(line.raw or b"", object_pairs_hook=pairs)
    return found


def why_impossible(record: Record) -> str | None:
    """Return why a record that was just made cannot be true; None if it can."""
    found = next((told for rule in FRESH for told in rule(record)), None)
    return None if found is None else ": ".join(found)


def _ledger(record: Record) -> Iterator[tuple[str, str]]:
    if record.is_replicate:
        return  # its times were spent on all of them
    # Before version 3 a trial ended with its hit.
    phases = [phase for phase in PHASES if phase != "sustain" or record.schema_version >= 3]
    parts = [getattr(record, f"{phase}_s") for phase in phases]
    if record.wall_s is None or None in parts:
        if record.status in {"reached", "missed"}:
            yield "ledger", "expected every phase and wall_s in a finished trial; some are empty"
        return
    total = sum(parts)
    if not math.isclose(total, record.wall_s, rel_tol=LEDGER_TOLERANCE):
        yield (
            "ledger",
            f"expected phases that add up to wall_s={record.wall_s:g}; they give {total:g}",
        )
    if min(parts) < 0:
        yield "ledger", "a phase is negative"


def _target(record: Record) -> Iterator[tuple[str, str]]:
    if record.status != "reached":
        for name in ("time_to_target_s", "updates_to_target", "epochs_to_target", "error_bound"):
            if getattr(record, name) is not None:
                yield name, f"expected empty in a trial that is {record.status}"
        return
    n, bound = record.certified_sequences, record.error_bound
    if (record.accuracy, record.exact_match) != (1.0, 1.0):
        yield "accuracy", "expected accuracy and exact match 1 in a trial that reached the target"
    refused = record.failed_certifications or 0
    asked = record.trial.certify or needed(refused + 1, record.trial.bound)
    stated = record.trial.bound or 3 / asked
    if n != asked:
        after = f" after {refused} refusals" if refused else ""
        yield "certified_sequences", f"expected {asked}{after}; received {n}"
    if bound is None or not math.isclose(bound, stated, rel_tol=1e-6):
        yield "error_bound", f"expected {stated:g}; received {bound}"
    hit, last = record.time_to_target_s, record.last_miss_s
    trained = (record.first_update_s or 0.0) + (record.train_s or 0.0)
    if record.is_replicate:
        return
    if hit is None or last is None or not 0 <= last <= hit <= trained * (1 + 1e-9):
        told = f"received {last}, {hit}, {trained:g}"
        yield "time_to_target_s", f"expected last_miss_s <= it <= all of training; {told}"
    wall = record.wall_to_target_s
    if wall is not None and not (hit or 0.0) <= wall <= (record.wall_s or math.inf):
        yield "wall_to_target_s", f"expected time_to_target_s <= it <= wall_s; received {wall:g}"


def _certifications(record: Record) -> Iterator[tuple[str, str]]:
    """Check the attempts at a certificate; older records have none."""
    trial, attempts = record.trial, record.certifications
    if not trial.bound:
        return
    refused = [attempt for attempt in attempts if attempt.wrong]
    if len(refused) != (record.failed_certifications or 0):
        yield "failed_certifications", f"expected {len(refused)}, those with an error"
    passed = [attempt for attempt in attempts if not attempt.wrong]
    if record.status == "reached":
        if passed != attempts[-1:] or [a.epoch for a in passed] != [record.epochs_to_target]:
            yield "certifications", "expected the last one alone without error, at the hit"
    elif passed:
        yield "certifications", f"expected an error in each in a trial that is {record.status}"
    screened = {point.epoch for point in record.evaluations if point.exact_match == 1}
    epochs = [attempt.epoch for attempt in attempts]
    if epochs != sorted(set(epochs)) or not {*epochs} <= screened:
        yield "certifications", "expected each after an evaluation without error"
    for number, attempt in enumerate(attempts, 1):
        asked = needed(number, trial.bound)
        if not (attempt.wrong <= attempt.sequences <= asked):
            yield "certifications", f"expected at most {asked} sequences at attempt {number}"
        elif not attempt.wrong and attempt.sequences != asked:
            yield "certifications", f"expected {asked} sequences at attempt {number}"


def _curve(record: Record) -> Iterator[tuple[str, str]]:
    epochs = [point.epoch for point in record.evaluations]
    times = [point.train_s for point in record.evaluations if point.train_s is not None]
    shares = [x for point in record.evaluations for x in (point.accuracy, point.exact_match)]
    if shares and not 0 <= min(shares) <= max(shares) <= 1:
        yield "evaluations", "expected accuracy and exact match in 0..1"
    if epochs != sorted(set(epochs)) or times != sorted(times):
        yield "evaluations", "expected epochs and times that rise"
    every = record.trial.recipe.evaluate_every
    budget = record.trial.max_epochs
    if every and any(epoch % every and epoch != budget for epoch in epochs):
        yield "evaluations", f"expected one each {every} epochs"
    if record.status == "reached" and record.evaluations:
        last = record.evaluations[-1]
        if last.accuracy != 1.0 or last.epoch != record.epochs_to_target:
            yield "evaluations", "expected the last one without error, at epochs_to_target"
        elif record.time_to_target_s is not None and not math.isclose(
            last.train_s or 0.0, record.time_to_target_s, rel_tol=1e-9
        ):
            yield "time_to_target_s", f"expected the last evaluation's {last.train_s:g}"
    yield from _after_hit(record)


def _after_hit(record: Record) -> Iterator[tuple[str, str]]:
    if len(record.after_hit) > record.trial.sustain:
        yield "after_hit", f"expected at most {record.trial.sustain} evaluations"
    times = [record.time_to_target_s or 0.0, *(point.train_s or 0.0 for point in record.after_hit)]
    if times != sorted(times):
        yield "after_hit", "expected times that rise from time_to_target_s"
    timed = record.schema_version >= 3 and not record.is_replicate
    if timed and record.status == "reached":
        misses = [at for at, point in enumerate(record.after_hit) if point.exact_match < 1]
        clean = times[misses[-1] + 2 :] if misses else times
        expected = clean[0] if clean else None
        if record.sustained_hit_s != expected:
            yield "sustained_hit_s", f"expected {expected}; received {record.sustained_hit_s}"


def _arithmetic(record: Record) -> Iterator[tuple[str, str]]:
    updates, epochs = record.updates_to_target, record.epochs_to_target
    if updates and epochs and updates % epochs:
        yield "updates_to_target", f"expected a multiple of {epochs} epochs; received {updates}"
    if not record.seconds_per_update:
        return
    if updates and record.time_to_target_s:
        ratio = record.time_to_target_s / (updates * record.seconds_per_update)
        if ratio < LEAST_TIME:
            message = f"only {ratio:.2g} of updates_to_target x seconds_per_update"
            yield "time_to_target_s", message
    if updates and epochs and record.sequences_per_s and record.trial.recipe.sequences:
        expected = record.trial.recipe.sequences * epochs / updates / record.seconds_per_update
        if not math.isclose(record.sequences_per_s, expected, rel_tol=1e-6):
            yield "sequences_per_s", f"expected {expected:g}; received {record.sequences_per_s:g}"
    flops, limit = record.flops_per_update, record.limit_fraction
    rates = [
        rate.matmul_flops_per_s
        for rate in (record.provenance.calibration or {}).values()
        if rate is not None
    ]
    if flops and limit is not None and rates:
        expected = flops / record.seconds_per_update / max(rates)
        if not math.isclose(limit, expected, rel_tol=1e-6):
            yield "limit_fraction", f"expected {expected:g}; received {limit:g}"


def _possible(record: Record) -> Iterator[tuple[str, str]]:
    for name in ("accuracy", "exact_match", "error_bound", "accuracy_at_tutorial_epochs"):
        value = getattr(record, name)
        if value is not None and not 0 <= value <= 1:
            yield name, f"expected 0..1; received {value}"
    for name in AMOUNTS:
        value = getattr(record, name)
        if value is not None and not 0 <= value < math.inf:
            yield name, f"expected 0 or more; received {value}"
    for name in COUNTS:
        value = getattr(record, name)
        if value is not None and value >= MOST:
            digits = len(str(value))
            yield name, f"expected less than {MOST:,}; received a number of {digits} digits"
    if (record.exact_match or 0) > (record.accuracy or 0):
        yield "exact_match", "expected no more than accuracy: a right sequence has right tokens"
    parity = record.parity
    if parity is not None and parity.passed is not None:
        passes = (parity.largest_difference or 0) <= (parity.tolerance or 0)
        if parity.passed != passes:
            yield "parity", "passed is not what largest_difference and tolerance say"


def _trial(record: Record) -> Iterator[tuple[str, str]]:
    try:
        trial = Trial.model_validate(record.trial_fields())
    except ValidationError as error:
        problem = error.errors()[0]
        yield "trial", f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        return
    key = record.trial.key
    if key != record.key:
        yield "key", f"expected {key}, the digest of the trial; received {record.key}"
    for name in ("backend", "engine", "division", "device", "seed"):
        ours, theirs = getattr(record, name), getattr(trial, name)
        if ours != theirs:
            yield name, f"expected the trial's {theirs!r}; received {ours!r}"


def _finished(record: Record) -> Iterator[tuple[str, str]]:
    if record.status not in {"reached", "missed"}:
        return
    needed = ["accuracy", "exact_match", "epochs"]
    if record.status == "reached":
        needed += ["epochs_to_target", "updates_to_target"]
    for name in needed:
        if getattr(record, name) is None:
            yield name, f"expected a figure in a trial that {record.status} the target"
    budget = record.trial.max_epochs
    if (record.epochs or 0) > budget:
        yield "epochs", f"expected at most the budget of {budget:,}; received {record.epochs:,}"


def _division(record: Record, plugins: Plugins) -> Iterator[tuple[Severity, str, str]]:
    """Check a closed record against its task's closed recipe, field by field."""
    trial = record.trial
    if record.division != "closed":
        return
    if trial.task not in plugins.tasks:
        message = f"task {trial.task!r} is not installed: its recipe is unchecked"
        yield "warning", "division", message
        return
    task = _task(trial.task, trial.parameters, plugins)
    if task is None:
        yield "error", "trial", f"its parameters are none of task {trial.task!r}"
        return
    if task.source_hash() != trial.source:
        yield "warning", "task source", "differs from the task that is installed here"
    changed = _differences(trial.recipe, task)
    if changed:
        yield "error", "division", f"is open, not closed: {'; '.join(changed)}"


def sorted_out(records: Iterable[Record], plugins: Plugins) -> tuple[list[Record], list[str]]:
    """Return records, those with an open recipe moved from closed to open, and the reasons.

    Records of a task that is not installed here, or in another version, stay as they are.
    """
    sorted_records, reasons = [], []
    for record in records:
        why = why_open(record.cell, record.division, plugins)
        if why:
            reasons.append(moved(record, why))
            trial = msgspec.structs.replace(record.trial, division="open")
            record = msgspec.structs.replace(record, division="open", trial=trial)
        sorted_records.append(record)
    return sorted_records, reasons


def moved(record: Any, why: Sequence[str]) -> str:
    """Return the sentence that says why a record counts as open."""
    name = f"{record.task} {record.backend} {record.engine} seed {record.seed}"
    return f"{name}, recorded as closed, counts as open: {'; '.join(why)}"


def why_open(cell: Cell, division: str, plugins: Plugins) -> list[str]:
    """Return how the recipe of a closed cell differs from its task's, if the task is installed."""
    if division != "closed":
        return []
    task = _task(cell.task, dict(cell.parameters), plugins)
    if task is None or task.source_hash() != cell.source:
        return []
    return _differences(cell.recipe, task)


def _task(name: str, parameters: Mapping[str, Any], plugins: Plugins) -> Task | None:
    """Return the task of a trial as it is installed here, if it is."""
    if name not in plugins.tasks:
        return None
    try:
        return plugins.tasks[name].value(**parameters)
    except ValidationError:
        return None


def _differences(stored: StoredRecipe, task: Task) -> list[str]:
    """Return in which fields a trial's recipe is not the closed one of its task."""
    recipe = default_recipe(task, "closed")
    if recipe is None:
        return [f"task {task.name!r} has no closed recipe"]
    try:
        recorded = Recipe.model_validate(msgspec.to_builtins(stored))
    except ValidationError as error:
        return [f"its recipe is none ({error.errors()[0]['msg']})"]
    return [
        f"{name}={getattr(recorded, name)} instead of {value}"
        for name, value in recipe.model_dump().items()
        if getattr(recorded, name) != value
    ]


RULES: tuple[Rule, ...] = (
    _ledger,
    _target,
    _certifications,
    _curve,
    _arithmetic,
    _possible,
    _finished,
)
FRESH: tuple[Rule, ...] = (_finished, _possible, _ledger, _target, _certifications, _curve)
"""What holds of each record that was just made, however noisy the machine."""
