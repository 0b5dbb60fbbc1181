"""What one process of a matrix has to do, told so that any machine can do it."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from echobench.core.backend import Backend
from echobench.errors import EchobenchError, StorageError
from echobench.harness import attempts, launch
from echobench.machine.cores import granted
from echobench.plugin.manager import FILE_PREFIX, Plugins
from echobench.store.appending import replace_bytes
from echobench.trial.messages import Progress, Reference
from echobench.trial.record import Record
from echobench.trial.trial import Trial

Tell = Callable[[Progress], None]


class Assignment(BaseModel):
    """A trial, or replicates that share a process, and how they are run.

    Attributes:
        trials: one, or all that share a process.
        command: echobench's own command line, for the records.
        about: what else the records' provenance is to hold.
        reference: first losses for the parity gate, if it is to be passed.
        watch: whether the worker tells of each evaluation as it makes it.
        memory_limit: bytes that a worker and what it starts may hold; None for all there are.
        retries: how often a trial that failed is run again, at once.
        save_model: where to save the trained network, if anywhere.
        cache: folder of compiled programs, where the trial may use one.
        sources: the text of each plugin that is a file, by where it is.
    """

    trials: list[Trial]
    command: list[str]
    about: dict[str, Any] = {}
    reference: Reference | None = None
    watch: bool = False
    memory_limit: int | None = None
    retries: int = 0
    save_model: Path | None = None
    cache: Path | None = None
    sources: dict[str, str] = {}

    @property
    def trial(self) -> Trial:
        """The one that speaks for all."""
        return self.trials[0]


class Outcome(BaseModel):
    """What comes back from another machine.

    Attributes:
        records: one of each trial.
        files: what was saved beside the network that was asked for, base64, by its suffix.
    """

    records: list[Record]
    files: dict[str, str] = {}


def perform(assignment: Assignment, backend: Backend, log: Path, tell: Tell) -> list[Record]:
    """Run an assignment on this machine; return a record of each trial, whatever happens.

    Args:
        assignment: what to do.
        backend: the trials'.
        log: file that takes what the worker prints.
        tell: called with the worker's progress.
    """
    trial = assignment.trial
    options: dict[str, Any] = {
        "command": assignment.command,
        "about": assignment.about,
        "memory_limit": assignment.memory_limit,
        "reference": assignment.reference,
        "watch": assignment.watch,
        "progress": tell,
    }
    kept: dict[str, Any] = {"save_model": assignment.save_model, "cache": assignment.cache}

    def once(log: Path) -> list[Record]:
        if trial.replicates:
            return launch.run_replicates(assignment.trials, backend, log=log, **options)
        return [launch.run_trial(trial, backend, log=log, **options, **kept)]

    def again(number: int) -> None:
        tell(Progress(phase=f"attempt {number}"))

    return attempts.run(once, log, assignment.retries, again)


def perform_elsewhere(told: str, tell: Tell, about: dict[str, Any]) -> str:
    """Run an assignment that came from another machine, on cores of its own here.

    It needs nothing of the machine it came from: plugins that are files come with it, and
    what it saves goes back with its records.

    Args:
        told: the assignment, as JSON.
        tell: called with the worker's progress.
        about: what the records' provenance is to hold of the executor.

    Returns:
        The outcome, as JSON.

    Raises:
        EchobenchError: what is installed here is not what the trials were planned with.
    """
    assignment = Assignment.model_validate_json(told)
    with tempfile.TemporaryDirectory(prefix="echobench-node-") as name:
        folder = Path(name)
        trials, plugins = _settled(assignment, folder)
        backend = plugins.backend(trials[0].backend).value
        _check_versions(trials[0], backend, plugins)
        model = None if assignment.save_model is None else folder / assignment.save_model.name
        with granted(trials[0].threads) as held:
            here = assignment.model_copy(
                update={
                    "trials": trials,
                    "save_model": model,
                    "about": {**assignment.about, "executor": {**about, "cores": held}},
                }
            )
            records = perform(here, backend, folder / "log", tell)
        saved = [] if model is None else folder.glob(f"{model.stem}.*")
        files = {path.suffix: base64.b64encode(path.read_bytes()).decode() for path in saved}
        return Outcome(records=records, files=files).model_dump_json()


def taken(assignment: Assignment, told: str) -> list[Record]:
    """Return the records of an outcome, and put what was saved where it was asked for.

    Raises:
        StorageError: it cannot be put there.
    """
    outcome = Outcome.model_validate_json(told)
    if assignment.save_model is not None:
        for suffix in outcome.files.keys() & {".keras", ".json"}:
            path = assignment.save_model.with_suffix(suffix)
            try:
                replace_bytes(path, base64.b64decode(outcome.files[suffix]))
            except OSError as error:
                raise StorageError(
                    f"stopped at {assignment.trial.name}: {error.strerror} ({path}); earlier "
                    "records are kept, and the same command resumes"
                ) from error
    return outcome.records


def _settled(assignment: Assignment, folder: Path) -> tuple[list[Trial], Plugins]:
    """Return the trials, and their plugins, those that are files written into a folder."""
    places = {}
    for number, (plugin, source) in enumerate(assignment.sources.items()):
        path = folder / str(number) / Path(plugin).name
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8")
        places[plugin] = f"{FILE_PREFIX}{path}"
    trials = [
        trial.model_copy(update={"plugins": [places.get(p, p) for p in trial.plugins]})
        for trial in assignment.trials
    ]
    return trials, Plugins.named(trials[0].plugins)


def _check_versions(trial: Trial, backend: Backend, plugins: Plugins) -> None:
    """Raise unless this machine has what a trial says that it ran with."""
    from importlib.metadata import version

    here = {"echobench": version("echobench"), **backend.versions()}
    task = plugins.task(trial.task).value(**trial.parameters)
    if task.source_hash() != trial.source:
        raise EchobenchError(f"the file of task {trial.task} is another on this node")
    if here != trial.versions:
        other = [
            f"{name} {here.get(name)} instead of {trial.versions.get(name)}"
            for name in sorted(here.keys() | trial.versions.keys())
            if here.get(name) != trial.versions.get(name)
        ]
        raise EchobenchError(f"a node has {', '.join(other)}; install the same everywhere")
