"""`echobench echo`: have a saved network echo a typed sequence."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench import interrupts
from echobench.cli.options import AsJson, PluginFiles
from echobench.text import say

if TYPE_CHECKING:
    from echobench.harness.predicting import EchoedSample


def echo(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="NAME.keras",
            help="Network saved by `echobench run --save-models`, with its NAME.json beside it",
        ),
    ],
    tokens: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOKEN",
            help="Sequence to echo, as the task spells its tokens; . is a missing token",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Backend to run (default: one that only predicts, if installed)"
        ),
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Have a saved network echo a sequence, and show its confidence in each token."""
    from echobench.harness import predicting
    from echobench.harness.saved_networks import read_network
    from echobench.plugin.manager import Plugins

    plugins = Plugins(plugin or [])
    provided = plugins.backend(backend) if backend else predicting.echo_backend(plugins)
    saved = read_network(model, plugins)
    with interrupts.on_interrupt_say("nothing is kept of an echo"):
        found = predicting.echo_words(saved, tokens or [], provided, plugins)
    told = {"model": saved.path.name, "task": saved.trial.label, "backend": provided.value.name}
    if as_json:
        print(json.dumps({**told, **asdict(found)}, indent=2))
    else:
        _show(found, " ".join([told["task"], "on", told["backend"]]))


def _show(found: EchoedSample, title: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from echobench.present.echoes import aligned, signs, token_text

    console = Console()
    given = [at for at, token in enumerate(found.echoed) if token is not None]
    said = sum(one is not None for one in found.right)
    lines: dict[str, list[str | Text]] = {
        "heard": [*map(token_text, found.heard)],
        "expected": [*map(token_text, found.expected)] if said else [],
        "echoed": [*map(token_text, found.echoed)],
        "": [*signs(found.right)] if said else [],
    }
    if found.certainty is not None and found.called is not None:
        percent = found.called == "confidence"
        lines[found.called] = [
            "" if at not in given else _percent(value) if percent else f"{value:.2f}"
            for at, value in enumerate(found.certainty)
        ]
    say(title, "", to=sys.stdout)
    console.print(aligned(lines, console.width), highlight=False)
    if said:
        right = sum(one is True for one in found.right)
        print(f"{right} of {said} right")
    if said < len(given):
        unknown = len(given) - said
        print(f"of {unknown} the task does not say what is right: it draws them with the input")
    if found.called == "distance":
        print("distance: from the integer that it is rounded to; it is no probability")


def _percent(probability: float) -> str:
    """Return a probability that reads 100% only where it is."""
    text = f"{probability:.1%}"
    return ">99.9%" if text == "100.0%" and probability < 1 else text
