"""Run saved networks on backends, each in its own process: compare answers, or echo a sample."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from echobench.core import spelling
from echobench.core.backend import Backend
from echobench.core.sequences import MISSING
from echobench.core.spelling import Token
from echobench.core.versions import module_version
from echobench.errors import EchobenchError, StorageError, UsageError
from echobench.harness import launch, validation
from echobench.harness.asking import left_out
from echobench.harness.plan import check_device
from echobench.harness.saved_networks import SavedNetwork
from echobench.machine.cores import check_threads
from echobench.plugin.catalog import Provided
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.text import file_name
from echobench.trial.cell import StoredTrial
from echobench.trial.job import Heard, Inference, Job
from echobench.trial.record import Prediction
from echobench.trial.selectors import recorded_task
from echobench.trial.trial import Trial

BATCHES = (1, 21, 210)
"""Numbers of samples for which a call is timed: one, a sequence of the tutorial, ten."""
ECHO_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Setting:
    """How networks are run.

    Attributes:
        device: `cpu` or `gpu`.
        threads: of a worker.
        timeout_s: limit of a worker's wall time.
        batches: numbers of samples for which a call is timed.

    Raises:
        UsageError: a value is invalid.
    """

    device: str
    threads: int
    timeout_s: float
    batches: Sequence[int] = BATCHES

    def __post_init__(self) -> None:
        check_device(self.device)
        for option, number in [("threads", self.threads), *(("batch", b) for b in self.batches)]:
            if number < 1:
                raise UsageError(f"--{option}: expected 1 or more; received {number}")
        check_threads(self.threads)


@dataclass(frozen=True)
class EchoedSample:
    """A network's echo of one sample, its tokens as the task spells them.

    Attributes:
        heard: [n_in]; None for a missing token.
        expected: [n_out]; None if no answer is expected, or it is unknown.
        echoed: [n_out]; None if no answer is expected.
        right: [n_out]; None if no answer is expected, or it is unknown.
        certainty: of each echoed token, if the network gives any.
        called: what the certainty is: `confidence`, a probability, or another figure.
    """

    heard: list[Token]
    expected: list[Token]
    echoed: list[Token]
    right: list[bool | None]
    certainty: list[float] | None
    called: str | None


def predict(
    models: Iterable[SavedNetwork],
    backends: Sequence[Provided[Backend]],
    setting: Setting,
    *,
    plugins: Plugins,
    store: Store,
    command: list[str],
    started: Callable[[SavedNetwork, str], None] = lambda model, backend: None,
    finished: Callable[[Prediction], None] = lambda prediction: None,
) -> list[Prediction]:
    """Run each model on each backend; store and return the records.

    A model's answers are compared with those of the first backend that succeeds.

    Args:
        models: networks to run.
        backends: to run them on, in order.
        setting: device, threads and limits.
        plugins: provide the models' tasks.
        store: keeps the records.
        command: echobench's command line, for the records.
        started: called with a model and a backend's name.
        finished: called with each record.

    Raises:
        StorageError: the results folder cannot be written; records in it are kept.
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
                    prediction = _predict_one(
                        model, provided, setting, plugins, answers, command, store
                    )
                    if prediction.status == "measured":
                        reference = reference or (name, answers)
                        prediction = _compare(prediction, answers, *reference)
                    store.append(prediction)
                except KeyboardInterrupt:
                    # A worker may have started that nothing refers to yet.
                    launch.end_strays()
                    raise
                except OSError as error:
                    raise StorageError(
                        f"stopped at {model.path.name} on {name}: {error.strerror} "
                        f"({store.folder}); earlier records are kept"
                    ) from error
                predictions.append(prediction)
                finished(prediction)
    return predictions


def _predict_one(
    model: SavedNetwork,
    provided: Provided[Backend],
    setting: Setting,
    plugins: Plugins,
    answers: Path,
    command: list[str],
    store: Store,
) -> Prediction:
    """Run one model on one backend, which writes its answers to the file `answers`."""
    backend = provided.value
    trial = _trial_on(model, provided, setting, plugins)
    inference = Inference(
        model=str(model.path.resolve()), batches=list(setting.batches), answers=str(answers)
    )
    (fields,) = launch.run_once(
        Job(kind="predict", trials=[trial], inference=inference, command=command),
        backend,
        store.logs / f"predict-{model.sha256[:16]}-{file_name(backend.name)}.log",
    )
    identity = {
        "model": model.path.name,
        "model_sha256": model.sha256,
        "task": trial.label,
        "backend": backend.name,
        "device": setting.device,
        "threads": setting.threads,
        "trial": StoredTrial.of(model.trial),
    }
    return validation.validated(Prediction, identity, fields)


def _compare(
    prediction: Prediction, answers: Path, reference: str, reference_answers: Path
) -> Prediction:
    """Add the number of tokens that differ from the reference backend's answers."""
    if prediction.backend == reference:
        return prediction
    ours, theirs = (np.load(path, allow_pickle=False) for path in (answers, reference_answers))
    differing = int((ours != theirs).sum())
    return msgspec.structs.replace(prediction, differing_tokens=differing, differs_from=reference)


def echo_backend(plugins: Plugins) -> Provided[Backend]:
    """Return the default backend for an echo.

    The first by name of those that only predict, since they need not compile; if there is
    none, the first of the others.

    Raises:
        UsageError: no backend can run saved networks.
    """
    able = []
    for provided in plugins.backends.values():
        with left_out():
            reasons = (
                provided.ask(name, str | None) for name in ("why_no_prediction", "why_unavailable")
            )
            if not any(reason is not None for reason in reasons):
                able.append(provided)
    if not able:
        raise UsageError("no backend is installed that runs saved networks; see: echobench list")
    return min(able, key=lambda provided: (provided.value.trains, provided.value.name))


def echo_words(
    model: SavedNetwork, words: Sequence[str], provided: Provided[Backend], plugins: Plugins
) -> EchoedSample:
    """Have a saved network echo a sample, typed as one word per token.

    Raises:
        UsageError: the words are no input of the task, or the file is no network for it.
        EchobenchError: the backend failed; with the reason.
    """
    task = recorded_task(plugins.tasks[model.trial.task].value, model.trial.parameters)
    asked = spelling.read_sample(task, words)
    setting = Setting(device="cpu", threads=1, timeout_s=ECHO_TIMEOUT_S)
    heard = Heard(model=str(model.path.resolve()), tokens=asked.tokens.tolist())
    trial = _trial_on(model, provided, setting, plugins)
    with tempfile.TemporaryDirectory(prefix="echobench-echo-") as folder:
        job = Job(kind="echo", trials=[trial], heard=heard)
        (result,) = launch.run_once(job, provided.value, Path(folder) / "log")
    if "refused" in result:
        raise UsageError(f"{model.path}: {result['refused']}")
    if "echoed" not in result:
        error = EchobenchError(
            f"{model.path} on {provided.value.name}: {result['status']}, {result['reason']}"
        )
        for line in result.get("log_tail", []):
            error.add_note(f"      | {line}")
        raise error
    names = spelling.token_names(task)
    numbered = spelling.are_numbers(names)
    certainty = result["certainty"] or {"called": None, "values": None}

    def spelled(token: int) -> Token:
        if token == MISSING:
            return None
        return token if numbered else names[token]

    answers = [*zip(asked.expected.tolist(), asked.known.tolist(), result["echoed"], strict=True)]
    return EchoedSample(
        heard=[*map(spelled, asked.tokens.tolist())],
        expected=[spelled(expected) for expected, _, _ in answers],
        echoed=[
            spelled(token) if expected != MISSING or not known else None
            for expected, known, token in answers
        ],
        right=[
            expected == token if expected != MISSING else None for expected, _, token in answers
        ],
        certainty=certainty["values"],
        called=certainty["called"],
    )


def _trial_on(
    model: SavedNetwork, provided: Provided[Backend], setting: Setting, plugins: Plugins
) -> Trial:
    """Return the network's trial, changed to run on this backend."""
    task = plugins.tasks[model.trial.task]
    return model.trial.model_copy(
        update={
            "backend": provided.value.name,
            "device": setting.device,
            "threads": setting.threads,
            "smt": False,
            "side_by_side": 1,
            "timeout_s": setting.timeout_s,
            "environment": {},  # of who trained the network: nobody here asked for them
            "plugins": sorted({task.plugin, provided.plugin}),
            "versions": {
                "echobench": module_version("echobench"),
                **provided.call(lambda b: b.versions()),
            },
            "source": task.call(lambda t: recorded_task(t, model.trial.parameters).source_hash()),
            "task_source": task.digest(),
            "backend_source": provided.digest(),
        }
    )
