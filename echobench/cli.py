"""The command line: arguments in, exit codes out, no logic.

Exit codes: 0 all well (a miss is a result), 1 some trial failed or could not be
recorded, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import enum
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from echobench.errors import EchobenchError, UsageError

if TYPE_CHECKING:
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Trial
    from echobench.results.record import Record

app = typer.Typer(
    help="How fast, and how surely, does each deep-learning backend teach a network to echo?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)

Results = Annotated[Path, typer.Option("--results", help="Folder of the records.")]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A plugin that is not installed: FILE.py.")
]


class Format(enum.StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"


@app.command()
def run(
    backend: Annotated[list[str] | None, typer.Option(help="Repeat for several; all.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME[key=value,...]; repeat; all.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="fused or fit; repeat for both; fused.")
    ] = None,
    division: Annotated[
        list[str] | None,
        typer.Option(help="closed: the tutorial's recipe; open: ours; repeat for both; closed."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds 0 to N-1 of each cell.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of a worker; all cores.")] = None,
    max_epochs: Annotated[
        int | None, typer.Option(help="Budget of a trial; ten times the tutorial's.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="Limit of a trial: 90s, 10m, 2h.")] = "10m",
    budget: Annotated[
        str | None, typer.Option(help="Start no trial after this long: 20m; resume later.")
    ] = None,
    results: Results = Path("results"),
    plugin: PluginFiles = None,
    save_models: Annotated[
        Path | None, typer.Option(help="Folder for the trained networks (.keras).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run, kept apart.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is done.")] = False,
) -> None:
    """Train, certify and record; the same command again resumes."""
    from echobench.harness import machine
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Selection, plan
    from echobench.plugins import Plugins
    from echobench.results.store import Store

    if device not in {"cpu", "gpu"}:
        raise UsageError(f"--device: expected cpu or gpu; received {device!r}")
    plugins = Plugins(plugin or [])
    selection = Selection(
        tasks=task or [],
        backends=backend or [],
        engines=engine or [],
        divisions=division or ["closed"],
        seeds=seeds,
        device=device,
        threads=machine.cores() if threads is None else threads,
        max_epochs=max_epochs,
        timeout_s=_seconds("--timeout", timeout),
        quick=quick,
    )
    trials = plan(selection, plugins)
    if any(trial.division not in selection.divisions for trial in trials):
        print("a recipe differs from the closed one: recorded as open", file=sys.stderr)
    store = Store(results, quick=quick)
    done = {} if force else store.done(machine.facts())
    missing = [trial for trial in trials if trial.key not in done]
    if dry_run:
        for trial in trials:
            print(f"{'done' if trial.key in done else 'run '}  {trial.name}")
        return
    store.check_writable()
    if save_models is not None:
        Store(save_models).check_writable()
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing)} of {len(trials)} trials are done", file=sys.stderr)
    matrix = Matrix(
        plugins=plugins,
        store=store,
        command=["echobench", *sys.argv[1:]],
        save_models=save_models,
        budget_s=None if budget is None else _seconds("--budget", budget),
    )
    records = _watched(matrix, missing)
    keys = {trial.key for trial in trials}
    _print_results([r for r in [*done.values(), *records] if r.key in keys])
    if any(r.status == "failed" or (r.parity and r.parity.passed is False) for r in records):
        raise typer.Exit(1)


def _watched(matrix: Matrix, trials: list[Trial]) -> list[Record]:
    from echobench import display

    # Both, and by name: a shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with display.watcher(len(trials)) as watcher:
            return matrix.run(trials, watcher)
    except KeyboardInterrupt:
        print(
            "interrupted: finished trials are recorded; the same command resumes", file=sys.stderr
        )
        raise typer.Exit(130) from None


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _print_results(records: list[Record]) -> None:
    from rich.console import Console

    from echobench.results import table as tables

    console = Console()
    if records:
        console.print(tables.terminal(records, console.width))
    for record in records:
        if record.samples and record.seed == 0:
            print(f"\n{record.task} {record.backend} {record.engine} {record.division}")
            for sample in record.samples[:3]:
                print(f"Expected: {sample.expected} Predicted: {sample.predicted}")


@app.command()
def table(
    results: Results = Path("results"),
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    quick: Annotated[bool, typer.Option("--quick", help="The smoke runs instead.")] = False,
) -> None:
    """Print the results table."""
    from rich.console import Console

    from echobench.results import table as tables
    from echobench.results.store import Store, latest

    if not results.is_dir():
        raise UsageError(f"--results: expected a folder of records; received {str(results)!r}")
    records = latest(Store(results, quick=quick).load())
    if form is not Format.TABLE:
        print(tables.render(records, form.value))
    elif records:
        console = Console()
        console.print(tables.terminal(records, console.width))
    else:
        print(f"no records in {results}; make some with: echobench run", file=sys.stderr)


@app.command("list")
def list_plugins(
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List tasks and backends: what is installed, what is usable, and why not."""
    from rich.console import Console
    from rich.table import Table

    from echobench.plugins import Plugins

    plugins = Plugins(plugin or [])
    found = []
    for name, task in sorted(plugins.tasks.items()):
        summary = (task.value.__doc__ or "").strip().partition("\n")[0]
        found.append(("task", name, True, summary, task.distribution))
    for name, backend in sorted(plugins.backends.items()):
        reason = backend.value.why_unavailable()
        versions = ", ".join(f"{k} {v}" for k, v in backend.value.versions().items())
        found.append(("backend", name, reason is None, reason or versions, backend.distribution))
    for broken in plugins.broken:
        found.append(("broken plugin", broken.plugin, False, broken.reason, broken.distribution))
    columns = ("kind", "name", "usable", "about", "from")
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in found], indent=2))
        return
    shown = Table(*columns, header_style="bold")
    for kind, name, usable, about, distribution in found:
        shown.add_row(kind, name, "yes" if usable else "no", about, distribution)
    Console().print(shown)


def _seconds(option: str, text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2] or "s"] if match else 0.0
    if not seconds:
        raise UsageError(f"{option}: expected a time such as 90s, 10m or 2h; received {text!r}")
    return seconds


def main() -> None:
    """Run the command line; an expected failure is one line: exit code 2 for the user's, else 1."""
    try:
        app()
    except EchobenchError as error:
        print(f"echobench: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
