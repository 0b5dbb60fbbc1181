"""Saved networks on backends, each in a process of its own, and whether these agree."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.core.sequences import Integers
from echobench.errors import StorageError, UsageError
from echobench.harness import archive, launch, validation
from echobench.plugin.manager import Plugins, Provided
from echobench.store.folder import Store
from echobench.text import file_name
from echobench.trial.job import Inference, Job
from echobench.trial.prediction import Prediction
from echobench.trial.trial import Trial

LARGEST = sum(archive.MEMBERS.values())
LARGEST_TRIAL = 1_000_000
"""Bytes of a .keras file and of the .json beside it."""
BATCHES = (1, 21, 210)
"""Numbers of samples for which a call is timed: one, a sequence of the tutorial, ten."""


@dataclass(frozen=True)
class Saved:
    """A saved network.

    Attributes:
        path: the .keras file.
        sha256: its digest.
        trial: what trained it, from the .json file beside it.
    """

    path: Path
    sha256: str
    trial: Trial


@dataclass(frozen=True)
class Setting:
    """How networks are run.

    Attributes:
        device: `cpu` or `gpu`.
        threads: of a worker.
        timeout_s: limit of a worker's wall time.
        batches: numbers of samples for which a call is timed.

    Raises:
        UsageError: one of these cannot be.
    """

    device: str
    threads: int
    timeout_s: float
    batches: Sequence[int] = BATCHES

    def __post_init__(self) -> None:
        if self.device not in {"cpu", "gpu"}:
            raise UsageError(f"--device: expected cpu or gpu; received {self.device!r}")
        for option, number in [("threads", self.threads), *(("batch", b) for b in self.batches)]:
            if number < 1:
                raise UsageError(f"--{option}: expected 1 or more; received {number}")


def read(path: Path, plugins: Plugins) -> Saved:
    """Return a saved network, with all that is needed to run it.

    Raises:
        UsageError: a file is missing or damaged, or its task is not installed.
    """
    beside = path.with_suffix(".json")
    try:
        for file, most in ((path, LARGEST), (beside, LARGEST_TRIAL)):
            if file.stat().st_size > most:
                raise UsageError(f"{file}: expected at most {most:,} bytes")
        archive.check(path)
        content, told = path.read_bytes(), beside.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: expected a network and, beside it, {beside.name} with its trial, as "
            f"run --save-models writes them; no such file: {error.filename}"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from error
    try:
        trial = Trial.model_validate_json(told)
        if trial.task not in plugins.tasks:
            raise UsageError(
                f"{path}: its task {trial.task!r} is not installed; it came from "
                f"{', '.join(trial.plugins)}; name a task's file with --plugin"
            )
        plugins.task(trial.task).value(**trial.parameters)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "file"
        raise UsageError(f"{beside}: not a trial ({where}: {problem['msg']})") from error
    return Saved(path, hashlib.sha256(content).hexdigest(), trial)


def predict(
    models: Iterable[Saved],
    backends: Sequence[Provided[Backend]],
    setting: Setting,
    *,
    plugins: Plugins,
    store: Store,
    command: list[str],
    started: Callable[[Saved, str], None] = lambda model, backend: None,
    finished: Callable[[Prediction], None] = lambda prediction: None,
) -> list[Prediction]:
    """Run each model on each backend, and keep the records as they come.

    A model's answers are compared with those of the first backend that gave any.

    Args:
        models: what to run.
        backends: where, in order.
        setting: how.
        plugins: where the models' tasks come from.
        store: keeps the records.
        command: echobench's own command line, for the records.
        started: called with a model and the name of a backend.
        finished: called with what came of it.

    Raises:
        StorageError: the results folder takes no more; what it holds stays.
    """
    predictions = []
    for model in models:
        reference: tuple[str, Path] | None = None
        with tempfile.TemporaryDirectory(prefix="echobench-answers-") as folder:
            for provided in backends:
                name = provided.value.name
                answers = Path(folder) / f"{file_name(name)}.npy"
                started(model, name)
                try:
                    prediction = _run(model, provided, setting, plugins, answers, command, store)
                    if prediction.status == "measured":
                        reference = reference or (name, answers)
                        prediction = _compared(prediction, answers, *reference)
                    store.append(prediction)
                except KeyboardInterrupt:
                    # It may have come while a worker was being started, before anyone held it.
                    launch.kill_children(os.getpid())
                    raise
                except OSError as error:
                    raise StorageError(
                        f"stopped at {model.path.name} on {name}: {error.strerror} "
                        f"({store.folder}); earlier records are kept"
                    ) from error
                predictions.append(prediction)
                finished(prediction)
    return predictions


def trial_on(
    model: Saved, provided: Provided[Backend], setting: Setting, plugins: Plugins
) -> Trial:
    """Return what a worker is told that runs a saved network on a backend."""
    backend = provided.value
    return model.trial.model_copy(
        update={
            "backend": backend.name,
            "device": setting.device,
            "threads": setting.threads,
            "timeout_s": setting.timeout_s,
            "plugins": sorted({plugins.task(model.trial.task).plugin, provided.plugin}),
            "versions": {"echobench": version("echobench"), **backend.versions()},
        }
    )


def _run(
    model: Saved,
    provided: Provided[Backend],
    setting: Setting,
    plugins: Plugins,
    answers: Path,
    command: list[str],
    store: Store,
) -> Prediction:
    """Run one model on one backend; its answers are then in the file `answers`."""
    backend = provided.value
    trial = trial_on(model, provided, setting, plugins)
    inference = Inference(
        model=str(model.path.resolve()), batches=list(setting.batches), answers=str(answers)
    )
    (fields,) = launch.run_once(
        Job(kind="predict", trials=[trial], inference=inference, command=command),
        backend,
        store.logs / f"predict-{model.sha256[:16]}-{file_name(backend.name)}.log",
    )
    told = {
        "model": model.path.name,
        "model_sha256": model.sha256,
        "task": trial.label,
        "backend": backend.name,
        "device": setting.device,
        "threads": setting.threads,
        "trial": model.trial.model_dump(mode="json"),
    }
    return validation.kept(Prediction, told, fields)


def _compared(
    prediction: Prediction, answers: Path, reference: str, reference_answers: Path
) -> Prediction:
    """Return the prediction with the number of tokens that the reference answers otherwise."""
    if prediction.backend == reference:
        return prediction
    differing = int((_answers(answers) != _answers(reference_answers)).sum())
    return prediction.model_copy(update={"differing_tokens": differing, "differs_from": reference})


def _answers(path: Path) -> Integers:
    found: Integers = np.load(path, allow_pickle=False)
    return found
