"""A saved network echoes what a person typed, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echobench.core import spelling
from echobench.core.backend import Backend
from echobench.core.sequences import MISSING
from echobench.core.spelling import Token
from echobench.errors import EchobenchError, UsageError
from echobench.harness import launch
from echobench.harness.predicting import Saved, Setting, trial_on
from echobench.plugin.manager import Plugins, Provided
from echobench.trial.job import Heard, Job

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Echo:
    """What was heard and what came back, as people read tokens.

    Attributes:
        heard: [n_in]; None where a token is missing.
        expected: [n_out]; None where none is asked for, or it is not known.
        echoed: [n_out]; None where none is asked for.
        right: [n_out]; None where none is asked for, or it is not known.
        certainty: what the network says of each echoed token, if anything.
        called: what that is: `confidence`, a probability, or another figure.
    """

    heard: list[Token]
    expected: list[Token]
    echoed: list[Token]
    right: list[bool | None]
    certainty: list[float] | None
    called: str | None


def usable(plugins: Plugins) -> Provided[Backend]:
    """Return the backend to echo on where the user names none.

    The first by name of those that only predict, and so have nothing to compile for; then of
    the others.

    Raises:
        UsageError: there is none.
    """
    able = [
        found
        for found in plugins.backends.values()
        if found.value.why_no_prediction() is None and found.value.why_unavailable() is None
    ]
    if not able:
        raise UsageError("no backend is installed that runs saved networks; see: echobench list")
    return min(able, key=lambda found: (found.value.trains, found.value.name))


def echo(model: Saved, words: Sequence[str], provided: Provided[Backend], plugins: Plugins) -> Echo:
    """Return a saved network's echo of what was typed.

    Args:
        model: the network.
        words: a token each.
        provided: the backend.
        plugins: where the network's task comes from.

    Raises:
        UsageError: the words are no input of the task, or the file no network of it.
        EchobenchError: the backend cannot do it, or its worker died; with the reason.
    """
    task = plugins.task(model.trial.task).value(**model.trial.parameters)
    asked = spelling.read_sample(task, words)
    setting = Setting(device="cpu", threads=1, timeout_s=TIMEOUT_S)
    heard = Heard(model=str(model.path.resolve()), tokens=asked.tokens.tolist())
    trial = trial_on(model, provided, setting, plugins)
    with tempfile.TemporaryDirectory(prefix="echobench-echo-") as folder:
        job = Job(kind="echo", trials=[trial], heard=heard)
        (came,) = launch.run_once(job, provided.value, Path(folder) / "log")
    if "refused" in came:
        raise UsageError(f"{model.path}: {came['refused']}")
    if "echoed" not in came:
        failed = EchobenchError(
            f"{model.path} on {provided.value.name}: {came['status']}, {came['reason']}"
        )
        for line in came.get("log_tail", []):
            failed.add_note(f"      | {line}")
        raise failed
    names = spelling.token_names(task)
    numbered = spelling.are_numbers(names)
    certainty = came["certainty"] or {"called": None, "values": None}

    def spelled(token: int) -> Token:
        if token == MISSING:
            return None
        return token if numbered else names[token]

    expected, known = asked.expected.tolist(), asked.known.tolist()
    wanted = [e != MISSING or not k for e, k in zip(expected, known, strict=True)]
    return Echo(
        heard=[*map(spelled, asked.tokens.tolist())],
        expected=[*map(spelled, expected)],
        echoed=[spelled(t) if w else None for t, w in zip(came["echoed"], wanted, strict=True)],
        right=[
            e == t if e != MISSING else None for e, t in zip(expected, came["echoed"], strict=True)
        ],
        certainty=certainty["values"],
        called=certainty["called"],
    )
