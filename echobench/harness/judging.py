"""Have the judge answer for certified networks, in a process of its own: once a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from echobench.core import target
from echobench.core.backend import Backend
from echobench.harness.validation import one_line
from echobench.plugin.manager import Plugins
from echobench.trial.cell import StoredTrial
from echobench.trial.job import Job, Judged, Progress, Report
from echobench.trial.record import INTERRUPTED, Judgement, Record

LIMIT_S = 300.0
"""Seconds that the judge may take for each certificate."""
Run = Callable[[Job, Backend, Path], list[dict[str, Any]]]
"""Runs a job's worker to its end; see `launch.work`."""


def judge(
    job: Job, records: Sequence[Record], networks: Path, log: Path, run: Run, report: Report
) -> None:
    """Add the judgement of its certificate to each record that has one.

    The judge is plain Keras on the backend of `job.judge`, with none of the plugins that trained
    the networks but their task's.

    Args:
        job: the job of the records; it names the judge.
        records: of the job's trials, in order; they are changed.
        networks: folder with the weights of certified networks.
        log: file for what the judge prints.
        run: runs the judge's worker.
        report: called with progress.
    """
    reached = [number for number, record in enumerate(records) if record.status == "reached"]
    if job.judge is None or not reached:
        return
    by = f"plain Keras on {job.judge.backend}"
    weights = {number: networks / f"{number}.npz" for number in reached}
    for number in reached:
        if not weights[number].is_file():
            records[number].judge = Judgement(by=by, refuted="its weights were not reported")
    present = [number for number in reached if weights[number].is_file()]
    if not present:
        return
    for number in present:  # until it has answered
        records[number].judge = Judgement(by=by, failure=INTERRUPTED)
    report(Progress(phase="judge"))
    asked = Job(
        kind="judge",
        cores=job.cores,
        trials=[
            job.judge.model_copy(
                update={"seed": job.trials[number].seed, "timeout_s": LIMIT_S * len(present)}
            )
            for number in present
        ],
        judged=[
            Judged(
                weights=str(weights[number]),
                attempt=len(records[number].certifications),
                sequences=records[number].certified_sequences or 0,
            )
            for number in present
        ],
    )
    backend = Plugins.named(job.judge.plugins).backends[job.judge.backend].value
    try:
        (answer,) = run(asked, backend, log)
    except OSError as error:  # a full disk, say; what was trained is kept all the same
        answer = {"reason": f"it could not be run: {error.strerror}"}
    found = answer.get("judgements")
    if not isinstance(found, list) or len(found) != len(present):
        found = [{"failure": answer.get("reason", "no answer")}] * len(present)
    for number, fields in zip(present, found, strict=True):
        records[number].judge = _judgement(by, fields, records[number].trial)


def _judgement(by: str, fields: dict[str, Any], trial: StoredTrial) -> Judgement:
    """Return a judgement, its interval and its verdict added to what the judge counted."""
    try:
        found = msgspec.convert({"by": by, **fields}, Judgement)
    except msgspec.ValidationError as error:
        return Judgement(by=by, failure=one_line(f"its answer is none ({error})"))
    if found.failure is not None:
        found.failure = one_line(found.failure)
    if found.wrong is not None:
        if not trial.test_set:
            found.interval = target.exact_interval(found.wrong, found.sequences)
        found.refuted = found.refutation(trial)
    return found
