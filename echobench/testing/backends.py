"""Check a backend: its methods one by one, then the parity gate task by task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echobench.core.backend import Backend
from echobench.errors import UsageError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.testing import checks
from echobench.testing.checks import CheckResult, FaultError, Say
from echobench.trial.job import PARITY_TOLERANCE, SQUEEZED
from echobench.trial.record import LOSS_TOLERANCE
from echobench.trial.trial import QUICK_EPOCHS, Trial
from echobench.worker.probes import ENGINE_EPOCHS, NEW_LENGTHS, SHORT_EPOCHS
from echobench.worker.recompiling import compiles_again, compiles_always, fixed_s

MOST_WORK = 5e9
"""Multiplications of a quick run up to which a task is checked by default."""
AGREEING = 0.99
"""Share of an untrained network's answers on which two backends agree, despite rounding."""
MOST_OFF_CLOCK = 0.5
"""Share of a stretch's work that may be done at another time; see `echobench.worker.clock`. The
work is a few milliseconds, of which ours do less than 0.15 elsewhere."""
OFF_CLOCK = {
    "reset": ("resets", 10.0, "have reset copy the weights and forget the rest, and no more"),
    "idle": (
        "threads after train has returned",
        MOST_OFF_CLOCK,
        "end what trains in threads before train returns",
    ),
    "predictor": (
        "first calls of the predictor after training",
        MOST_OFF_CLOCK,
        "have the predictor do nothing but predict",
    ),
}
"""When work may be hidden from the clock: in words, how many stretches' work, what to change.
Handing over the weights of a small network takes ours up to 1.5 stretches."""
ENGINE_CHECKS = (
    "devices", "facts", "reset", "dispatch", "recompilation", "predictor", "clock", "off the clock",
    "agreement", "learning",
)  # fmt: skip # as they run


def assert_backend(
    name: str, *, tasks: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> None:
    """Raise AssertionError with the checks that a backend fails, if any; see `check_backend`."""
    checks.assert_none_failed(name, check_backend(name, tasks=tasks, plugins=plugins))


def check_backend(
    name: str,
    *,
    tasks: Sequence[str] = (),
    plugins: Sequence[Path | str] = (),
    say: Say = checks.no_progress,
) -> list[CheckResult]:
    """Check a backend; some ten seconds for each task.

    Args:
        name: the backend as `--backend` takes it.
        tasks: tasks for the parity gate, as `--task` takes them. Default: all with a
            short quick run.
        plugins: files of plugins that are not installed.
        say: takes a line of progress for whatever takes longer than a second.

    Returns:
        A result for each check, and for the parity gate of each task.

    Raises:
        UsageError: unknown backend or task.
    """
    loaded = Plugins([Path(plugin) for plugin in plugins])
    provided = loaded.backends[name]
    backend = provided.value
    selectors = list(tasks) or _cheap(loaded, say)
    if not selectors:
        raise UsageError("no installed task is small enough to check with; name one with --task")
    for selector in tasks:
        resolve(selector, "closed", loaded)  # raises UsageError before anything runs
    say(f"{name}: loading it in a fresh process")
    results = [
        checks.run_check("imports", lambda: checks.check_imports(provided.plugin, loaded)),
        checks.run_check("available", lambda: _available(backend)),
        checks.run_check("environment", lambda: _environment(backend)),
    ]
    if not checks.none_failed(results):
        return [*results, *checks.skip_checks(ENGINE_CHECKS)]
    results += _engine(backend, selectors[0], loaded, say)
    if not backend.trains:
        return results
    # The gate says where a training that goes wrong begins to.
    if not checks.none_failed([result for result in results if result.name != "learning"]):
        return [*results, *checks.skip_checks(["parity"])]
    for selector in selectors:
        say(f"{name}: parity of {selector}")
        check = functools.partial(
            checks.check_parity, rehearsed(checks.quick_trial(selector, name, loaded)), loaded
        )
        results.append(checks.run_check(f"parity {selector}", check))
    return results


def rehearsed(trial: Trial) -> Trial:
    """Return a trial in whose first updates every field of a recipe shows.

    Warm-up, decay and clipping are squeezed into them, and there are several sequences.
    """
    recipe = trial.recipe
    changes = {**SQUEEZED, "sequences": max(2, recipe.sequences)}
    return trial.model_copy(
        update={"recipe": recipe.model_copy(update=changes), "division": "open"}
    )


def _cheap(plugins: Plugins, say: Say) -> list[str]:
    """Return the tasks with a short quick run, the shortest first."""
    work: dict[str, float] = {}
    for name in plugins.tasks:
        try:
            work[name] = _work(name, plugins)
        except Exception as error:  # another plugin's task may be broken; this backend is not
            say(f"task {name!r} is left out: {type(error).__name__}: {error}")
    return sorted((name for name in work if work[name] <= MOST_WORK), key=lambda name: work[name])


def _work(name: str, plugins: Plugins) -> float:
    """Estimate the multiplications of a quick run of the closed recipe."""
    _, task, recipe = resolve(name, "closed", plugins)
    samples, n_in = task.framing.inputs.shape
    steps = QUICK_EPOCHS * recipe.sequences * samples * (n_in + task.framing.targets.shape[1])
    return float(8 * steps * recipe.units * (recipe.units + task.coding.width))


def _available(backend: Backend) -> str:
    """Check that the backend is installed and reports its versions."""
    missing = backend.why_unavailable()
    if missing is not None:
        raise FaultError(
            missing, "install what it requires; nothing else can be checked without it"
        )
    versions = backend.versions()
    if not versions or not all(isinstance(text, str) for text in versions.values()):
        raise FaultError(f"versions returns {versions!r}", "return version strings by module name")
    return ", ".join(f"{name} {text}" for name, text in versions.items())


def _environment(backend: Backend) -> str:
    names: set[str] = set()
    for device in ("cpu", "gpu"):
        for threads in (1, 2):
            variables: Any = backend.environment(device, threads)
            if not isinstance(variables, dict) or not all(
                isinstance(text, str) for pair in variables.items() for text in pair
            ):
                raise FaultError(
                    f"environment({device!r}, {threads}) returns {variables!r}",
                    "return a dictionary of strings: str(threads), not threads",
                )
            names.update(variables)
    if "KERAS_BACKEND" in names:
        raise FaultError(
            "environment sets KERAS_BACKEND", "leave it to the attribute `keras_backend`"
        )
    return f"sets {', '.join(sorted(names)) or 'nothing'}"


def _engine(backend: Backend, selector: str, plugins: Plugins, say: Say) -> list[CheckResult]:
    """Run trainer and predictor in a worker, and check what they returned."""
    measured: dict[str, Any] = {}

    def devices() -> str:
        say(f"{backend.name}: running trainer and predictor on {selector}")
        measured.update(
            checks.run_probe("engine", checks.quick_trial(selector, backend.name, plugins), plugins)
        )
        if not set(measured["devices"]) & {"cpu", "gpu"}:
            raise FaultError(
                f"devices returns {measured['devices']}", "return the kinds of device: 'cpu', 'gpu'"
            )
        return ", ".join(measured["devices"])

    first = checks.run_check("devices", devices)
    if not measured:
        return [first, *checks.skip_checks(ENGINE_CHECKS[1:])]
    results = [first, checks.run_check("facts", lambda: _facts(measured))]
    if not backend.trains:
        why = backend.why_no_training() or "it trains nothing"
        return [*results, *checks.skip_checks([*ENGINE_CHECKS[2:], "parity"], why)]
    return [
        *results,
        checks.run_check("reset", lambda: _reset(measured)),
        checks.run_check("dispatch", lambda: _dispatch(measured)),
        checks.run_check("recompilation", lambda: _recompilation(measured["again"])),
        checks.run_check("predictor", lambda: _predictor(measured)),
        checks.run_check("clock", lambda: _clock(measured["clock"])),
        checks.run_check("off the clock", lambda: _off_the_clock(measured["clock"])),
        *_against_the_reference(measured, backend, selector, plugins, say),
    ]


def _facts(measured: dict[str, Any]) -> str:
    facts = measured["facts"]
    if "error" in facts:
        raise FaultError(
            f"facts cannot be written as JSON: {facts['error']}",
            "return strings, numbers, lists and dictionaries of them: str(dtype), not dtype",
        )
    return ", ".join(f"{name}: {value}" for name, value in facts["json"].items()) or "none"


def _reset(measured: dict[str, Any]) -> str:
    """Check that training after a reset repeats the losses, and that these are finite."""
    first, second = (np.array(losses) for losses in measured["losses"][:2])
    if not np.isfinite(first).all():
        raise FaultError("losses are not finite", "compare the first loss with another backend's")
    if not measured["same_weights_shapes"]:
        raise FaultError(
            "weights() returns other shapes than reset was given",
            "return the trainable variables in the model's order",
        )
    difference = _difference(first, second)
    if difference > PARITY_TOLERANCE:
        raise FaultError(
            f"after reset, the same weights and rows give losses that differ by {difference:.1e}",
            "have reset forget Adam's moments, the step and the recurrent state, and copy the "
            "weights that it is given",
        )
    return f"the same weights and rows give the same losses again (to {difference:.0e})"


def _dispatch(measured: dict[str, Any]) -> str:
    """Check shapes, and a call with fewer epochs than the trainer's chunk."""
    full, parts = np.array(measured["losses"][0]), np.array(measured["losses"][2])
    batches = measured["batches"]
    for epochs, shapes in zip(
        (ENGINE_EPOCHS, ENGINE_EPOCHS, SHORT_EPOCHS), measured["shapes"], strict=True
    ):
        for name, shape in zip(("losses", "accuracies"), shapes, strict=True):
            if list(shape) not in ([epochs, batches], [epochs, 1]):
                raise FaultError(
                    f"train of {epochs} epochs, {batches} batches each, returns {name} of shape "
                    f"{shape}",
                    f"return [{epochs}, {batches}], or [{epochs}, 1] with their means; a dispatch "
                    "may have fewer epochs than the trainer's chunk",
                )
    difference = _difference(full, parts)
    if difference > PARITY_TOLERANCE:
        raise FaultError(
            f"{ENGINE_EPOCHS} epochs in two dispatches, the first of {SHORT_EPOCHS}, give other "
            f"losses than in one: {difference:.1e}",
            "train on the given rows alone, not on padding, and go on from where they end",
        )
    return f"{ENGINE_EPOCHS} epochs train alike in one dispatch and in two"


def _recompilation(again: Sequence[Sequence[float]]) -> str:
    """Check that dispatches of other lengths take no longer for the first time than later.

    Nor may each take long whatever its length: it compiles then, or makes ready, every time.
    """
    (long, *_, short), (longest, *_, shortest) = again, NEW_LENGTHS
    fixed = fixed_s(long, short, longest // shortest)
    if compiles_always(fixed, short):
        raise FaultError(
            f"every dispatch takes {fixed:.2g} s of processor time, however few its epochs",
            "compile once, in `trainer`, and not in each call of `train`",
        )
    compiled = [times for times in again if compiles_again(*times)]
    found = (
        f"{len(compiled)} of {len(again)} lengths of a dispatch take longer for the first time, by "
        f"{sum(first - second for first, second in compiled):.2g} s"
    )
    if len(compiled) > 1:  # once may be chance
        raise FaultError(
            found,
            "compile once for the trainer's chunk: pad the rows, or pass their number to the loop",
        )
    return found


def _predictor(measured: dict[str, Any]) -> str:
    """Check that answers are integers of the right shape, and the same when asked again."""
    shape, dtype = measured["answers_shape"], measured["answers_dtype"]
    if shape != measured["expected_shape"] or not np.issubdtype(np.dtype(dtype), np.integer):
        raise FaultError(
            f"the predictor returns {dtype} of shape {shape}; expected integers of shape "
            f"{measured['expected_shape']}",
            "return integers [count, samples, n_out], as program.predict does",
        )
    if not measured["answers_repeat"]:
        raise FaultError(
            "the predictor returns other answers when it is called again",
            "keep no state from call to call, and do not change the given weights",
        )
    return f"integers {shape}, the same when it is called again"


def _clock(clock: dict[str, float]) -> str:
    """Check that `train` returns when its updates are done, and does them when it is called."""
    unread, foreseen = clock["unread"], clock["foreseen"]
    if unread > MOST_OFF_CLOCK:
        raise FaultError(
            f"train returns before its updates are done: {unread:.0%} of the work is left to "
            "whoever reads the weights",
            "wait for the device before train returns: read a value that depends on every update",
        )
    if foreseen < MOST_OFF_CLOCK:
        raise FaultError(
            f"train does {foreseen:.0%} of the work on the rows of a trial that it does on rows "
            "that nobody can foresee",
            "train on the given rows when they are given, and keep no results",
        )
    return (
        f"train leaves {max(0.0, unread):.0%} of its work to whoever reads the weights, and does "
        f"{foreseen:.2f} times as much on a trial's rows as on unforeseen ones"
    )


def _off_the_clock(clock: dict[str, float]) -> str:
    """Check that the processor works while the clock runs, and not at other times."""
    for name, (where, most, advice) in OFF_CLOCK.items():
        if clock[name] > most:
            raise FaultError(
                f"{where} take {clock[name]:.2f} times the processor time of training from one "
                f"evaluation to the next; expected at most {most:g}",
                advice,
            )
    shares = (f"{where} {max(0.0, clock[name]):.2f}" for name, (where, *_) in OFF_CLOCK.items())
    return f"over the processor time of training: {', '.join(shares)}"


def _against_the_reference(
    measured: dict[str, Any], backend: Backend, selector: str, plugins: Plugins, say: Say
) -> list[CheckResult]:
    """Compare answers and learning with the reference backend's."""
    reference = next(
        (b for b in checks.usable_backends(plugins) if b.reference and b is not backend), None
    )
    names = ("agreement", "learning")
    if reference is None:
        why = "this is the reference backend, or none is installed"
        return checks.skip_checks(names, why)
    say(f"{backend.name}: comparing answers and learning with {reference.name}")
    expected: dict[str, Any] = {}

    def agreement() -> str:
        trial = checks.quick_trial(selector, reference.name, plugins)
        expected.update(checks.run_probe("answers", trial, plugins))
        return _agreement(measured["answers"], expected["answers"], reference.name)

    first = checks.run_check(names[0], agreement)
    if not expected:
        return [first, *checks.skip_checks(names[1:])]
    second = functools.partial(
        _learning, measured["learning"], expected["learning"], reference.name
    )
    return [first, checks.run_check(names[1], second)]


def _agreement(answers: Any, expected: Any, reference: str) -> str:
    """Check that an untrained network answers as on the reference backend."""
    agreement = float(np.mean(np.array(answers) == np.array(expected)))
    found = f"{agreement:.1%} of answers with the same weights are those of {reference}"
    if agreement < AGREEING:
        raise FaultError(
            found,
            "predict with the given weights, in their order, from a zero state",
        )
    return found


def _learning(losses: Any, expected: Any, reference: str) -> str:
    """Check that training goes on as on the reference backend, beyond the gate's updates."""
    difference = _difference(np.array(losses), np.array(expected))
    found = (
        f"the mean losses of the first {len(expected)} epochs of a trial differ from those of "
        f"{reference} by {difference:.0e} at most"
    )
    if not difference <= LOSS_TOLERANCE:
        raise FaultError(
            f"{found}; expected {LOSS_TOLERANCE:.0e}",
            "train as the recipe says in every epoch: all rows, every update, the same rate",
        )
    return found


def _difference(one: Any, other: Any) -> float:
    """Return the largest relative difference; infinity if the shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.max(np.abs(one / other - 1.0)))
