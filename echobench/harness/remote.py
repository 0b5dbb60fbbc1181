"""A job on another machine: packed as text, run there, its records and networks unpacked here."""

from __future__ import annotations

import base64
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from echobench.core.backend import Backend
from echobench.core.versions import module_version
from echobench.errors import EchobenchError
from echobench.harness import launch
from echobench.harness.here import NotStartedError
from echobench.machine.cores import why_too_many
from echobench.plugin.files import FILE_PREFIX
from echobench.plugin.manager import Plugins
from echobench.store.folder import replace_file
from echobench.store.reading import decoded
from echobench.text import say
from echobench.trial.job import Job, Progress, Report
from echobench.trial.record import Record
from echobench.trial.trial import Trial


class _Packed(BaseModel):
    """What comes back: the line of each record, and saved files in base64 by name."""

    records: list[str]
    files: dict[str, str] = {}


def run_packed_job(text: str, report: Report, about: dict[str, Any]) -> str:
    """Run a job that came from another machine as JSON, on cores of its own here.

    It needs nothing of the machine that it came from: plugins that are files come with it,
    and the networks that it saves go back with its records. Once its `begin_by` has passed, by this
    machine's clock, no trial of it begins; one that has begun goes on.

    Args:
        text: `Job.model_dump_json()`.
        report: called with the worker's progress.
        about: provenance of the executor, such as its name and node.

    Returns:
        Text for `unpack_records`.

    Raises:
        EchobenchError: this machine has other versions than the trials were planned with, or
            this process may not use a core for each of their threads.
    """
    job = Job.model_validate_json(text)
    budget_s = _left_s(job)
    if budget_s is not None and budget_s < 0:
        return _Packed(records=[]).model_dump_json()

    def reported(progress: Progress) -> None:
        report(progress)
        if progress.waits and (_left_s(job) or 0.0) < 0:
            raise NotStartedError

    with tempfile.TemporaryDirectory(prefix="echobench-node-") as name:
        folder = Path(name)
        files = _written_plugins(job, folder)
        trials = [_with_files(trial, files) for trial in job.trials]
        plugins = Plugins.named(trials[0].plugins)
        backend = plugins.backends[trials[0].backend].value
        _check_versions(trials[0], backend, plugins)
        lacking = why_too_many(trials[0].threads, trials[0].smt)
        if lacking is not None:
            raise EchobenchError(f"a node gives its job too few cores: {lacking}")
        models = None if job.save_models is None else folder / "models"
        here = job.model_copy(
            update={
                "trials": trials,
                "judge": job.judge and _with_files(job.judge, files),
                "save_models": models,
                "about": {**job.about, "executor": about},
                "cores": None,
                "budget_s": budget_s,
            }
        )
        try:
            records = launch.run_job(here, backend, folder / "log", reported)
        except NotStartedError:
            records = []
        saved = models.glob("*") if models is not None and models.is_dir() else ()
        networks = {path.name: base64.b64encode(path.read_bytes()).decode() for path in saved}
        lines = [record.to_json() for record in records]
        return _Packed(records=lines, files=networks).model_dump_json()


def _left_s(job: Job) -> float | None:
    """Return for how long a job may begin trials; None where it has no budget.

    Where this machine's clock is behind, that is no more than when the job was handed over.
    """
    if job.begin_by is None or job.budget_s is None:
        return job.budget_s
    return min(job.budget_s, job.begin_by - time.time())


def unpack_records(job: Job, text: str) -> list[Record]:
    """Return the records of a job that ran elsewhere; save its networks where it asks for them.

    A network that cannot be saved costs no record: it is said.

    Args:
        job: the job as it was started here.
        text: what `run_packed_job` returned.
    """
    packed = _Packed.model_validate_json(text)
    for model in filter(None, map(job.model_path, job.trials)):
        description = model.with_suffix(".json")
        try:
            # As a worker does: no earlier network's result may stand beside this one.
            for path in (description, model):
                if path.name in packed.files:
                    replace_file(path, base64.b64decode(packed.files[path.name]))
        except OSError as error:
            say(f"{model}: the network is not saved: {error.strerror}")
            with contextlib.suppress(OSError):
                description.unlink()
    return [decoded(line.encode()) for line in packed.records]


def _written_plugins(job: Job, folder: Path) -> dict[str, str]:
    """Write the plugins that came as text into a folder; return their names here, by their own.

    Those of one folder lie in one folder here, and share its modules.
    """
    files, folders = {}, dict[str, Path]()
    for plugin, sources in job.sources.items():
        place, _, name = plugin.rpartition("/")
        here = folders.setdefault(place, folder / str(len(folders)))
        for below, text in sources.items():
            path = here / below
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        files[plugin] = f"{FILE_PREFIX}{here / name}"
    return files


def _with_files(trial: Trial, files: dict[str, str]) -> Trial:
    """Return the trial with the plugins that load it here."""
    return trial.model_copy(update={"plugins": [files.get(p, p) for p in trial.plugins]})


def _check_versions(trial: Trial, backend: Backend, plugins: Plugins) -> None:
    """Raise unless this machine has the versions that a trial was planned with."""
    here = {"echobench": module_version("echobench"), **backend.versions()}
    plugins.check_sources(trial)
    if here != trial.versions:
        differing = [
            f"{name} {here.get(name)} instead of {trial.versions.get(name)}"
            for name in sorted(here.keys() | trial.versions.keys())
            if here.get(name) != trial.versions.get(name)
        ]
        raise EchobenchError(f"a node has {', '.join(differing)}; install the same everywhere")
