"""`echobench predict`: saved networks on any backend, timed and compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench import interrupts
from echobench.cli import options
from echobench.cli.options import argument
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.text import say

if TYPE_CHECKING:
    from echobench.trial.record import Prediction


def predict(
    model: Annotated[
        list[Path],
        argument(
            "NETWORK",
            "Networks saved by `echobench run --save-models`, each beside its NAME.json: files "
            "NAME.keras, their names without the key at the end, or folders",
        ),
    ],
    backend: options.BackendsToRun = None,
    batch: Annotated[
        list[int] | None,
        options.numbers(
            "N", "Samples in a timed call; repeatable (default: 1, 21 and 210)", "--batch"
        ),
    ] = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    timeout: options.Timeout = "10m",
    results: options.Results = Path("results"),
    form: options.PrintFormat = "table",
    plugin: options.PluginFiles = None,
) -> None:
    """Time saved networks on each backend, and check that all predict the same."""
    from echobench.harness import predicting
    from echobench.harness.asking import check_backends, left_out
    from echobench.harness.saved_networks import networks_at, read_network
    from echobench.machine.cores import most_threads
    from echobench.plugin.manager import Plugins
    from echobench.present import table as tables
    from echobench.store.folder import Store

    plugins = Plugins(plugin or [])
    setting = predicting.Setting(
        device=device,
        threads=most_threads() if threads is None else threads,
        timeout_s=options.seconds_of("--timeout", timeout),
        batches=list(dict.fromkeys(batch or predicting.BATCHES)),
    )
    able = []
    for name, provided in sorted(plugins.backends.items()):
        with left_out():
            if provided.ask("uses_keras", bool):
                able.append(name)
    check_backends(backend or [], plugins, "why_no_prediction", "why_unavailable")
    names = list(dict.fromkeys(backend or able))
    backends = [plugins.backends[name] for name in names]
    paths = dict.fromkeys(path for named in model for path in networks_at(named))
    models, refused = [], []
    for path in paths:
        try:
            models.append(read_network(path, plugins))
        except UsageError as error:
            refused.append(error)
    if not models:
        say(*map(str, refused[:-1]))
        raise refused[-1]
    say(*map(str, refused))
    say(*(f"careful: {one.path.name}: {one.doubt}" for one in models if one.doubt))
    store = Store(results)
    store.check_writable()
    with interrupts.on_interrupt_say("finished predictions are recorded"):
        predictions = predicting.predict(
            models,
            backends,
            setting,
            plugins=plugins,
            store=store,
            command=options.command_line(),
            started=lambda model, name: say(f"{model.path.name} on {name} ..."),
            finished=_say_failure,
        )
    if form == "table":
        console = make_console()
        for name, table in tables.prediction_tables(predictions, console.width).items():
            say("", name, to=sys.stdout)
            console.print(table)
    else:
        print(tables.render_predictions(predictions, form))
    if refused or any(p.status in {"failed", "timeout"} or p.differing_tokens for p in predictions):
        raise typer.Exit(1)
    if not any(p.status == "measured" for p in predictions):
        say("no backend ran a network")
        raise typer.Exit(1)


def _say_failure(prediction: Prediction) -> None:
    if prediction.status != "measured":
        say(f"    {prediction.status}: {prediction.reason}")
    if prediction.status == "failed":
        say(*(f"      | {line}" for line in prediction.log_tail))
