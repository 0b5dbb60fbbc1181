"""`echobench echo`: have a saved network echo a typed sequence."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from echobench import interrupts
from echobench.cli.options import AsJson, PluginFiles, argument, option
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.text import say

if TYPE_CHECKING:
    from echobench.harness.predicting import EchoedSample


def echo(
    model: Annotated[
        Path,
        argument(
            "NETWORK",
            "Network saved by `echobench run --save-models`, with its NAME.json beside it: the "
            "file NAME.keras, its name without the key at the end, or a folder with this one",
        ),
    ],
    tokens: Annotated[
        list[str] | None,
        argument(
            "TOKEN",
            "Sequence to echo, as the task spells its tokens; . is a missing token, or .. where . "
            "is a token",
        ),
    ] = None,
    backend: Annotated[
        str | None, option("NAME", "Backend to run (default: one that only predicts, if installed)")
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Have a saved network echo a sequence, and show its confidence in each token."""
    from echobench.harness import predicting
    from echobench.harness.saved_networks import networks_at, read_network
    from echobench.plugin.manager import Plugins

    plugins = Plugins(plugin or [])
    provided = predicting.echo_backend(plugins) if backend is None else plugins.backends[backend]
    paths = networks_at(model)
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise UsageError(f"echo: expected one network; {model} names {len(paths)}: {names}")
    saved = read_network(paths[0], plugins)
    if saved.doubt:
        say(f"careful: {saved.path.name}: {saved.doubt}")
    with interrupts.on_interrupt_say("nothing is kept of an echo"):
        sample = predicting.echo_words(saved, tokens or [], provided, plugins)
    source = {"model": saved.path.name, "task": saved.trial.label, "backend": provided.value.name}
    if as_json:
        print(json.dumps({**source, **asdict(sample)}, indent=2))
    else:
        _show(sample, f"{source['task']} on {source['backend']}", bool(saved.trial.test_set))


def _show(sample: EchoedSample, title: str, has_test_set: bool = False) -> None:
    from rich.text import Text

    from echobench.present.terminal import aligned, signs, token_text

    console = make_console()
    given = [at for at, token in enumerate(sample.echoed) if token is not None]
    judged = sum(right is not None for right in sample.right)
    lines: dict[str, list[str | Text]] = {
        "heard": [*map(token_text, sample.heard)],
        "expected": [*map(token_text, sample.expected)] if judged else [],
        "echoed": [*map(token_text, sample.echoed)],
        "": [*signs(sample.right)] if judged else [],
    }
    if sample.certainty is not None and sample.called is not None:
        percent = sample.called == "confidence"
        lines[sample.called] = [
            "" if at not in given else _percent(value) if percent else f"{value:.2f}"
            for at, value in enumerate(sample.certainty)
        ]
    say(title, "", to=sys.stdout)
    console.print(aligned(lines, console.width), highlight=False)
    if judged:
        right = sample.right.count(True)
        print(f"{right} of {judged} right")
    if judged < len(given):
        unknown = len(given) - judged
        why = (
            "its data hold no single answer to this sequence"
            if has_test_set
            else "it draws them with the input"
        )
        print(f"of {unknown} the task does not say what is right: {why}")
    if sample.called == "distance":
        print("distance: from the integer that it is rounded to; it is no probability")


def _percent(probability: float) -> str:
    """Return a probability that reads 100% only where it is."""
    text = f"{probability:.1%}"
    return ">99.9%" if text == "100.0%" and probability < 1 else text
