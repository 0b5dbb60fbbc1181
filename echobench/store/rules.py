"""What must hold of every record by itself; the constants are the suite's, not the record's."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from echobench.core.target import exact_interval, needed
from echobench.core.training import ONCE, PHASES, fingerprint_epoch
from echobench.machine import calibration
from echobench.trial.cell import Cell, StoredTrial
from echobench.trial.declared import asked_for, declared_by_command
from echobench.trial.job import PARITY_TOLERANCE, PARITY_UPDATES, UNSEEN, needs_rehearsal
from echobench.trial.record import FLOATS, INTEGERS, Machine, Record, Sample
from echobench.trial.trial import (
    BOUND,
    BUDGET,
    FIRST_TUNING_SEED,
    MEASURE,
    QUICK_BOUND,
    QUICK_EPOCHS,
    QUICK_MEASURE,
    SCREEN,
    SUSTAIN,
    Trial,
)
from echobench.trial.variables import uncommon, variables_text, why_refused

Rule = Callable[[Record], Iterator[tuple[str, str]]]
"""Yields the violations by a record: the subject and the message of each."""
LEDGER_TOLERANCE = 0.01
SAME = 1e-9
"""Relative difference of two ways to compute the same figure."""
LEAST_TIME = 0.5
"""Of what the median update and their number give, that the target must have taken. There is
no most: the first updates may be slow."""
MOST_DISTURBED = 4.0
"""How many times what it is the median of an update is, at most, where few calls show it and
others disturbed one; there the faster quartile counts, if that is more."""
MOST_BUSY, TICK_S = 1.1, 0.01
"""Processor time over that of the trial's cores, and what the system's clock may add."""
MOST_SOONER = 10.0
"""How much faster a later trial of a process may make an update than the first: disturbances of a
busy machine stay far below it."""
FEWEST_STRETCHES = 5
"""Evaluations of a first trial whose time of an update says how long a process takes for one."""
PROCESS = re.compile("[0-9a-f]{16}")
CLOCKS_DIFFER = timedelta(days=1)
"""Between the clock of the machine that ran a trial and ours."""
AMOUNTS = [
    name
    for name in Record.__struct_fields__
    if name in FLOATS | INTEGERS and name.endswith(("_s", "_per_update", "_bytes", "_target"))
]
COUNTS = [name for name in Record.__struct_fields__ if name in INTEGERS - {"seed"}]
MOST = 2**53
"""Parsers of JSON read whole numbers from here on differently."""
ADDED = {
    2: ("updates", "flops_per_update", "limit_fraction"),
    3: ("sustain_s", "wall_to_target_s", "sustained_hit_s", "after_hit"),
    5: (
        "certifications",
        "diverged_epoch",
        "judge",
        "fingerprint",
        "clock_share",
        "limit_reason",
    ),
    6: ("recompilations",),
}
"""Fields that a version of the schema added: no older record has them."""


def trial_matches(record: Record) -> Iterator[tuple[str, str]]:
    """Check that the trial is one, and that key and fields are its own."""
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


TEST_SETS = ("held out", "trained on")
OLD_RULE = "certified by the old rule"


def unusual(cell: Cell) -> dict[str, str]:
    """Return in what a cell's conditions, which its user may choose, are not the suite's."""
    budget = QUICK_EPOCHS if cell.quick else BUDGET * cell.recipe.epochs
    bound = QUICK_BOUND if cell.quick else BOUND
    found = {}
    if cell.max_epochs != budget:
        found["max_epochs"] = f"at most {cell.max_epochs:,} epochs a trial (--max-epochs)"
    if not cell.bound and not cell.test_set:
        found["bound"] = OLD_RULE
    elif cell.bound not in (0, bound):
        found["bound"] = f"certificates of the bound {cell.bound:g} (--bound)"
    if cell.side_by_side > 1:
        found["side_by_side"] = f"{cell.side_by_side} jobs side by side (--jobs)"
    if cell.environment:
        found["environment"] = f"variables {cell.variables} (--env)"
    return found


def doubts(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what no rule forbids, and a reader should know."""
    yield from unusual(record.planned_cell).items()
    yield from _unchecked(record)
    if record.recompiled:
        yield "recompilations", record.recompiled
    if record.status == "reached" and any(map(wrong_tokens, record.samples)):
        left = "that leaves none" if record.trial.test_set else "that leaves few"
        yield "samples", f"an answer is wrong, after a certificate {left}"


def _unchecked(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what was not checked when the trial ran; a search leaves the checks out."""
    if record.seed >= FIRST_TUNING_SEED:
        return
    if record.unchecked:
        yield "parity", "not compared with a reference"
    if record.schema_version < 5 or record.status != "reached":
        return
    if lacks_rehearsal(record):
        yield "parity", "its warm-up, decay and clipping were not compared with the reference's"
    if record.judge is None or record.judge.failure is not None:
        yield "judge", "its certificate was not judged"
    if record.fingerprint is not None and record.fingerprint.passed is None:
        yield "fingerprint", "not compared with the reference's"
    timed = record.seconds_per_update is not None and not record.is_replicate
    if timed and record.device == "cpu" and record.clock_share is None:
        yield "clock_share", "its clock was not compared with a control"


def _recompiled(record: Record) -> Iterator[tuple[str, str]]:
    found, trained = record.recompilations, (record.first_update_s or 0.0) + (record.train_s or 0.0)
    if found is not None and not 0.0 <= found.seconds <= trained * (1 + LEDGER_TOLERANCE):
        yield "recompilations", f"expected at most the {trained:.3g} s of training"


def lacks_rehearsal(record: Record) -> bool:
    """Return whether a trial passed the gate without the rehearsal that its recipe needs.

    Older records have none.
    """
    parity, trial = record.parity, record.trial
    passed = parity is not None and parity.passed and parity.squeezed is None
    due = record.schema_version >= 6 and not trial.quick
    return bool(passed) and due and needs_rehearsal(trial.recipe)


def _suite(record: Record) -> Iterator[tuple[str, str]]:
    trial = record.trial
    own = trial.quick or trial.replicates or trial.seed >= FIRST_TUNING_SEED
    counted = record.schema_version >= 5
    fixed = {
        "screen": trial.screen if trial.test_set else SCREEN,
        "sustain": 0 if own or record.schema_version < 3 else SUSTAIN,
        # Until version 5 each attempt at a certificate had as many sequences.
        "certify": 0 if counted else QUICK_MEASURE if trial.quick else MEASURE,
    }
    for name, value in fixed.items():
        if getattr(trial, name) != value:
            yield name, f"expected the suite's {value}; received {getattr(trial, name)}"
    if trial.test_set:
        if record.schema_version < 7 or trial.test_set not in TEST_SETS:
            yield "test_set", f"expected none in a record of schema {record.schema_version}"
        if trial.screen < 1 or trial.bound:
            received = f"received {trial.screen} and a bound of {trial.bound:g}"
            yield (
                "test_set",
                f"expected the number of its sequences as `screen`, no bound; {received}",
            )
    elif counted != (trial.bound > 0):
        yield "bound", f"expected {'one' if counted else 'none'} in a record of its schema"


def _variables(record: Record) -> Iterator[tuple[str, str]]:
    """Check that its worker was handed what this suite hands over, and none hides a name."""
    for name, value in record.trial.environment.items():
        refused = why_refused(name, value)
        if refused is not None:
            yield "environment", f"{name}: {refused}"
        elif record.division == "closed" and uncommon([name]):
            yield (
                "environment",
                f"{variables_text({name: value})} may speed up one backend alone, which the "
                "closed division does not take",
            )


def _version(record: Record) -> Iterator[tuple[str, str]]:
    for version, names in ADDED.items():
        for name in names if record.schema_version < version else ():
            if getattr(record, name) not in (None, []):
                yield name, f"expected none in a record of schema {record.schema_version}"


def _start(record: Record) -> Iterator[tuple[str, str]]:
    started = started_at(record)
    if started is None:
        yield "started_at", f"expected a time in UTC; received {record.started_at[:40]!r}"
    elif started > datetime.now(UTC) + CLOCKS_DIFFER:
        yield "started_at", f"is in the future: {record.started_at}"


def started_at(record: Record) -> datetime | None:
    """Return when a trial started; None if the record does not say it in UTC."""
    try:
        found = datetime.fromisoformat(record.started_at)
    except ValueError:
        return None
    return found if found.utcoffset() == timedelta(0) else None


def _ledger(record: Record) -> Iterator[tuple[str, str]]:
    if record.is_replicate:
        return  # its times were spent on all of them
    # Before version 3 a trial ended with its hit.
    phases = [phase for phase in PHASES if phase != "sustain" or record.schema_version >= 3]
    if not record.is_first:
        phases = [phase for phase in phases if phase not in ONCE]
        if any(getattr(record, f"{phase}_s") is not None for phase in ONCE):
            yield "ledger", f"expected no {', '.join(ONCE)} after the first trial of a process"
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


def _process(record: Record) -> Iterator[tuple[str, str]]:
    process = record.provenance.process
    if process is None:
        return
    if not PROCESS.fullmatch(process.id):
        yield "process", f"expected an id of 16 hexadecimal digits; received {process.id[:40]!r}"
    if process.place and record.is_replicate:
        yield "process", "expected place 0 of a replicate, which trains together with the others"
    if process.place and record.wall_to_target_s is not None:
        yield "process", "expected no wall_to_target_s after the first trial of a process"


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
    asked = record.trial.certify or _needed(refused + 1, record.trial)
    stated = record.trial.bound or 3 / (asked or 1)
    if n != asked:
        after = f" after {refused} refusals" if refused else ""
        yield "certified_sequences", f"expected {asked}{after}; received {n}"
    if record.trial.test_set:
        if bound is not None:
            yield "error_bound", f"expected none of a whole test set; received {bound:g}"
    elif bound is None or not math.isclose(bound, stated, rel_tol=1e-6):
        yield "error_bound", f"expected {stated:g}; received {bound}"
    if not record.is_replicate:
        yield from _hit(record)


def _needed(attempt: int, trial: StoredTrial) -> int:
    """Return how many sequences an attempt at a certificate has to answer."""
    if trial.test_set:
        return trial.screen
    return needed(attempt, trial.bound) if trial.bound > 0 else 0


def _certifications(record: Record) -> Iterator[tuple[str, str]]:
    """Check the attempts at a certificate: one after each evaluation without error."""
    clean = [point.epoch for point in record.evaluations if point.exact_match == 1.0]
    failed = len(clean) - (record.status == "reached")
    if record.failed_certifications is not None and record.failed_certifications != failed:
        message = f"expected {failed}, by the evaluations; received {record.failed_certifications}"
        yield "failed_certifications", message
    if not record.trial.is_judged:
        return
    if record.trial.test_set and failed:
        # The evaluation has answered what the certificate asks for.
        yield "certifications", "expected none refused, after an evaluation of the whole test set"
    attempts = record.certifications
    if [attempt.epoch for attempt in attempts] != clean:
        yield "certifications", "expected one after each evaluation without error, and no other"
    refused = attempts[:-1] if record.status == "reached" else attempts
    for number, attempt in enumerate(attempts, start=1):
        asked = _needed(number, record.trial)
        if number > len(refused):
            if (attempt.sequences, attempt.wrong) != (asked, 0):
                message = f"expected {asked} sequences without an error at attempt {number}"
                yield "certifications", message
        elif not 0 < attempt.wrong <= attempt.sequences <= asked:
            message = f"expected an error within {asked} sequences at attempt {number}, a refusal"
            yield "certifications", message


def _hit(record: Record) -> Iterator[tuple[str, str]]:
    hit, last = record.time_to_target_s, record.last_miss_s
    trained = (record.first_update_s or 0.0) + (record.train_s or 0.0)
    if hit is None or last is None or not 0 <= last <= hit <= trained * (1 + SAME):
        received = f"received {last}, {hit}, {trained:g}"
        yield "time_to_target_s", f"expected last_miss_s <= it <= all of training; {received}"
    elif not math.isclose(hit, trained, rel_tol=SAME):
        yield "time_to_target_s", f"expected all of training, {trained:g}; received {hit:g}"
    before = [point.train_s or 0.0 for point in record.evaluations[:-1]]
    if last is not None and last != (before[-1] if before else 0.0):
        yield "last_miss_s", f"expected the time of the evaluation before; received {last:g}"
    wall = record.wall_to_target_s
    if wall is None or record.wall_s is None:
        return
    parts = ("import_s", "build_s", "compile_s", "eval_s")
    least = trained + sum(getattr(record, part) or 0.0 for part in parts)
    most = record.wall_s - (record.sustain_s or 0.0)
    if not least * (1 - SAME) <= wall <= most * (1 + SAME):
        yield "wall_to_target_s", f"expected {least:g} to {most:g}, its parts; received {wall:g}"


def _curve(record: Record) -> Iterator[tuple[str, str]]:
    points = record.evaluations
    times = [point.train_s for point in points if point.train_s is not None]
    shares = [x for point in points for x in (point.accuracy, point.exact_match)]
    if shares and not 0 <= min(shares) <= max(shares) <= 1:
        yield "evaluations", "expected accuracy and exact match in 0..1"
    epochs = [point.epoch for point in points]
    if epochs != sorted(set(epochs)) or times != sorted(times):
        yield "evaluations", "expected epochs and times that rise"
    elif epochs != _evaluated(record, epochs):
        every = record.trial.recipe.evaluate_every
        yield "evaluations", f"expected one each {every} epochs, up to {record.epochs}"
    if any(not (point.exact_match * record.trial.screen + 1e-6) % 1 < 2e-6 for point in points):
        yield "evaluations", f"expected an exact match of {record.trial.screen} sequences"
    if record.status == "reached" and points:
        last = points[-1]
        if last.accuracy != 1.0 or last.epoch != record.epochs_to_target:
            yield "evaluations", "expected the last one without error, at epochs_to_target"
        elif record.time_to_target_s is not None and not math.isclose(
            last.train_s or 0.0, record.time_to_target_s, rel_tol=SAME
        ):
            yield "time_to_target_s", f"expected the last evaluation's {last.train_s:g}"
    yield from _after_hit(record)


def _evaluated(record: Record, epochs: list[int]) -> list[int]:
    """Return the epochs at which a trial that trained so many was evaluated."""
    every, trained = record.trial.recipe.evaluate_every, _whole_epochs(record)
    if every < 1 or trained > every * (len(epochs) + 1):
        return [every]  # too few, and no long list of those missing
    expected = [*range(every, trained + 1, every)]
    if trained == record.trial.max_epochs and trained % every:
        expected.append(trained)
    return expected


def _whole_epochs(record: Record) -> int:
    """Return how many epochs a trial trained with a loss that was finite."""
    return (record.epochs or 0) - (record.diverged_epoch is not None)


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
    batches = updates_per_epoch(record)
    if updates and epochs and updates % epochs:
        yield "updates_to_target", f"expected a multiple of {epochs} epochs; received {updates}"
    elif updates and epochs and updates != batches * epochs:
        yield "updates_to_target", f"expected {batches} an epoch, as in all of training"
    seconds = record.seconds_per_update
    if not seconds:
        return
    low, high = record.seconds_per_update_quartiles or (seconds, seconds)
    if updates and record.time_to_target_s:
        again = record.recompilations.times if record.recompilations is not None else 0
        steady = has_pace(len(record.evaluations), again)
        update_s = seconds if steady else max(low, seconds / MOST_DISTURBED)
        ratio = record.time_to_target_s / (updates * update_s)
        if ratio < LEAST_TIME:
            message = f"only {ratio:.2g} of updates_to_target x {update_s:.3g} s an update"
            yield "time_to_target_s", message
    if not low <= seconds <= high:
        message = f"expected it within its quartiles, {low:g} to {high:g}; received {seconds:g}"
        yield "seconds_per_update", message
    yield from _rates(record, seconds, batches)
    flops, limit = record.flops_per_update, record.limit_fraction
    rates = [
        rate.matmul_flops_per_s
        for rate in (record.provenance.calibration or {}).values()
        if rate is not None
    ]
    if flops and limit is not None and rates:
        expected = flops / seconds / max(rates)
        if not math.isclose(limit, expected, rel_tol=1e-6):
            yield "limit_fraction", f"expected {expected:g}; received {limit:g}"


def _rates(record: Record, seconds: float, batches: float) -> Iterator[tuple[str, str]]:
    recipe, echoes = record.trial.recipe, [*_echoes(record)]
    if not batches or not recipe.sequences:
        return
    expected = {"sequences_per_s": recipe.sequences / batches / seconds}
    if echoes:
        # As many samples of a sequence as its updates take, and each has as many targets.
        tokens = batches * recipe.batch * len(echoes[0].expected)
        expected["tokens_per_s"] = expected["sequences_per_s"] * tokens
    for name, value in expected.items():
        received = getattr(record, name)
        if received is not None and not math.isclose(received, value, rel_tol=1e-6):
            yield name, f"expected {value:g}; received {received:g}"


def updates_per_epoch(record: Record) -> float:
    """Return the number of updates in an epoch; 0 if it is not known."""
    updates, epochs = record.updates, record.epochs
    if updates is None:  # before version 2
        updates, epochs = record.updates_to_target, record.epochs_to_target
    return updates / epochs if updates and epochs else 0.0


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


def _parity(record: Record) -> Iterator[tuple[str, str]]:
    parity = record.parity
    if parity is None:
        if record.status in {"reached", "missed"}:
            yield "parity", "expected the parity gate's verdict; it is empty"
        return
    figures = (parity.largest_difference, parity.squeezed, parity.tolerance)
    if any(figure is not None and not 0 <= figure < math.inf for figure in figures):
        yield "parity", "expected differences and a tolerance of 0 or more"
    if parity.passed is None:
        differ = parity.largest_difference is not None and (
            parity.largest_difference > PARITY_TOLERANCE
        )
        if differ or parity.squeezed is not None or parity.failure is not None:
            yield "parity", "expected the verdict on the differences that it has; it is empty"
        return
    if not parity.reference:
        yield "parity", "expected the reference with which it was compared; there is none"
    known = parity.updates in {PARITY_UPDATES, 2 * PARITY_UPDATES}
    if not known or parity.tolerance != PARITY_TOLERANCE:
        expected = f"expected {PARITY_UPDATES} updates within the suite's {PARITY_TOLERANCE:g}"
        yield "parity", f"{expected}; received {parity.updates} within {parity.tolerance}"
    largest = parity.largest_difference
    agree = largest is not None and max(largest, parity.squeezed or 0.0) <= PARITY_TOLERANCE
    if largest is None or parity.passed != (agree and parity.failure is None):
        yield "parity", "passed is not what largest_difference, squeezed and tolerance say"


def _judged(record: Record) -> Iterator[tuple[str, str]]:
    """Check what the judge counted, and that its verdict follows from it."""
    judge = record.judge
    if judge is None:
        return
    if record.status != "reached":
        yield "judge", f"expected none in a trial that is {record.status}"
        return
    if judge.wrong is None:
        if judge.refuted is None and judge.failure is None:
            yield "judge", "expected what it counted, or why it did not"
        return
    exact = bool(record.trial.test_set)
    asked = record.trial.screen if exact else UNSEEN
    whose = "the test set's" if exact else "the suite's"
    if judge.sequences != asked or not 0 <= judge.wrong <= asked:
        received = f"received {judge.wrong} of {judge.sequences}"
        yield "judge", f"expected its errors in {whose} {asked:,} sequences; {received}"
    else:
        counted = (judge.certificate_wrong or 0) + (judge.certificate_rounding or 0)
        if exact and judge.wrong != counted:
            received = f"received {judge.wrong} errors, and {counted} of the certificate"
            yield "judge", f"expected the same: the certificate is the whole test set; {received}"
        if exact and judge.interval is not None:
            yield "judge", "expected no interval of errors in a whole test set"
        if not exact and judge.interval != _interval(judge.wrong):
            low, high = _interval(judge.wrong)
            yield "judge", f"expected an interval of {low:.3g} to {high:.3g}, by its errors"
        if judge.refuted != judge.refutation(record.trial):
            yield "judge", "its verdict is not what its errors and the bound say"


@functools.lru_cache
def _interval(wrong: int) -> tuple[float, float]:
    return exact_interval(wrong, UNSEEN)


def _fingerprint(record: Record) -> Iterator[tuple[str, str]]:
    """Check that the fingerprint is taken where the suite takes it, and its verdict."""
    taken, batches = record.fingerprint, updates_per_epoch(record)
    if record.schema_version < 5 or record.status not in {"reached", "missed"}:
        return
    every, budget = record.trial.recipe.evaluate_every, record.trial.max_epochs
    epoch = fingerprint_epoch(every, budget, batches or 1)
    if taken is None:
        if _whole_epochs(record) >= epoch:
            yield "fingerprint", f"expected one in epoch {epoch}; there is none"
        return
    first = next(iter(record.evaluations), None)
    if taken.epoch != epoch:
        yield "fingerprint", f"expected one in epoch {epoch}; received {taken.epoch}"
    elif (
        first
        and first.epoch == epoch
        and (first.loss, first.accuracy) != (taken.loss, taken.accuracy)
    ):
        yield "fingerprint", "expected loss and accuracy of the evaluation in its epoch"
    compared = None if taken.reference_loss is None else taken.difference is None
    if taken.passed != compared:
        yield "fingerprint", "passed is not what it and the reference's say"


def _finished(record: Record) -> Iterator[tuple[str, str]]:
    if record.status not in {"reached", "missed"}:
        return
    needed = ["accuracy", "exact_match", "epochs", "failed_certifications"]
    if record.status == "reached":
        needed += ["epochs_to_target", "updates_to_target"]
        if record.schema_version >= 3 and not (record.is_replicate or not record.is_first):
            needed.append("wall_to_target_s")
    for name in needed:
        if getattr(record, name) is None:
            yield name, f"expected a figure in a trial that {record.status} the target"
    if not record.evaluations and record.diverged_epoch is None:
        yield "evaluations", f"expected some in a trial that {record.status} the target"
    if record.status == "reached" and not record.samples:
        yield "samples", "expected what the certified network answers; there is none"
    budget = record.trial.max_epochs
    if (record.epochs or 0) > budget:
        yield "epochs", f"expected at most the budget of {budget:,}; received {record.epochs:,}"
    if record.diverged_epoch not in (None, record.epochs):
        yield "diverged_epoch", f"expected the last one, {record.epochs}"
    if record.status == "missed" and record.diverged_epoch is None and record.epochs != budget:
        yield "epochs", f"expected the budget of {budget:,} in a trial that missed"
    named = record.accuracy_at_tutorial_epochs is not None
    if named != (_whole_epochs(record) >= record.trial.recipe.epochs):
        figure = f"a figure if the trial had the {record.trial.recipe.epochs} epochs of its recipe"
        yield "accuracy_at_tutorial_epochs", f"expected {figure}, and else none"


def _answers(record: Record) -> Iterator[tuple[str, str]]:
    """An answer that is shown beside 100% is right."""
    for point in (*record.evaluations, *record.after_hit):
        if point.sample and point.accuracy == 1.0 and wrong_tokens(point.sample):
            yield "evaluations", f"a sample at epoch {point.epoch} is wrong, beside 100%"
    asked = sum(token is not None for sample in record.samples for token in sample.expected)
    wrong = sum(map(wrong_tokens, record.samples))
    # One wrong token is as rare as the certificate says; a sequence of them is not one error.
    if record.status == "reached" and 2 * wrong > asked:
        yield "samples", f"{wrong} of {asked} answers are wrong, after a certificate of 100%"


def _echoes(record: Record) -> Iterator[Sample]:
    yield from record.samples
    yield from (point.sample for point in record.evaluations if point.sample)


def wrong_tokens(sample: Sample) -> int:
    """Return how many targets of a sample are answered wrong."""
    if sample.expected == sample.predicted:
        return 0
    if len(sample.expected) != len(sample.predicted):
        return len(sample.expected) + 1
    pairs = zip(sample.expected, sample.predicted, strict=True)
    return sum(expected is not None and expected != answer for expected, answer in pairs)


def _cores(record: Record) -> Iterator[tuple[str, str]]:
    """A trial kept to as many cores as it has threads, and used no more."""
    affinity, busy = (record.execution.get(name) for name in ("affinity", "busy_cores"))
    threads, machine = record.trial.threads, record.provenance.machine or Machine()
    if isinstance(affinity, list) and len(affinity) > threads:
        yield "affinity", f"expected at most {threads} cores; received {len(affinity)}"
    cores = len(affinity) if isinstance(affinity, list) else machine.cores or threads
    trained = (record.first_update_s or 0.0) + (record.train_s or 0.0)
    if isinstance(busy, int | float) and busy * trained > cores * trained * MOST_BUSY + TICK_S:
        yield "busy_cores", f"expected at most the trial's {cores}; received {busy:.3g}"


def _disturbed(record: Record) -> Iterator[tuple[str, str]]:
    """Check what calibration decides; what older records say of it is decided again by readers."""
    if record.schema_version < 5:
        return
    found = calibration.assessed(record)
    hidden = [each for each in found.disturbances if each not in record.disturbances]
    if hidden:
        yield "disturbances", f"expected {'; '.join(hidden)}, by its evaluations"
    if found.limit_fraction != record.limit_fraction:
        yield "limit_fraction", f"expected none above 1; received {record.limit_fraction:g}"


def _declared(record: Record) -> Iterator[tuple[str, str]]:
    declared = declared_by_command(record)
    if declared is None:
        return
    asked, recorded = asked_for(record).get("seeds"), (record.provenance.seeds or {}).get("seeds")
    if asked is not None and recorded is not None and asked != recorded:
        yield "seeds", f"expected the {asked} of the command; {recorded} are declared"
    if not declared.includes(record.seed, record.trial.repeat):
        again = f" repeat {record.trial.repeat}" if record.trial.repeat else ""
        yield "seed", f"{record.seed}{again} is none of the {declared.seeds} that were declared"


def has_pace(evaluations: int, recompiled: int) -> bool:
    """Return whether a trial's time of an update is that of steady training.

    A trainer may compile once for each length of a stretch between evaluations. Of few stretches
    the median is then one of compiling.
    """
    return evaluations >= FEWEST_STRETCHES and not recompiled


FRESH: tuple[Rule, ...] = (
    _finished, _possible, _ledger, _target, _certifications, _curve, _cores,
)  # fmt: skip # one line reads better
"""What holds of each record that was just made, however noisy the machine."""
RULES: tuple[Rule, ...] = (
    *(_suite, _variables, _version, _start, _ledger, _target, _certifications, _curve, _arithmetic),
    *(_possible, _parity, _recompiled, _judged, _fingerprint),
    *(_finished, _answers, _cores, _disturbed, _declared, _process),
)
