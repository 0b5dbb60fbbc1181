"""`echobench run`: train, certify and record."""

from __future__ import annotations

import itertools
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench.cli.options import Observe, PluginFiles, Results, whole
from echobench.cli.options import seconds as seconds_of
from echobench.cli.running import can_watch, chosen_observers, print_results, watched
from echobench.errors import UsageError
from echobench.results.plain import say

if TYPE_CHECKING:
    from echobench.results.record import Record


def run(
    backend: Annotated[list[str] | None, typer.Option(help="Repeat for several; all.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help=r"NAME or NAME\[key=value,...]; repeat; all.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="fused or fit; repeat for both; fused.")
    ] = None,
    division: Annotated[
        list[str] | None,
        typer.Option(help="closed: the tutorial's recipe; open: ours; repeat for both; closed."),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds 0 to N-1 of each cell; auto: until pairs are told apart.")
    ] = "1",
    repeats: Annotated[
        int, typer.Option(help="Runs of each cell and seed, to compare a cell with itself.")
    ] = 1,
    replicates: Annotated[
        int, typer.Option(help="Seeds trained together in one program; as many as that, or more.")
    ] = 0,
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
    observe: Observe = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the learning as it happens, on a terminal.")
    ] = False,
    save_models: Annotated[
        Path | None, typer.Option(help="Folder for the trained networks (.keras).")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep compiled programs, and use those kept.")
    ] = False,
    tell_host: Annotated[
        bool, typer.Option("--tell-host", help="Keep the names of host and user in the records.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run, kept apart.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is done.")] = False,
) -> None:
    """Train, certify and record; the same command again resumes."""
    from echobench.harness import adaptive, machine
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Selection, plan
    from echobench.plugins import Plugins
    from echobench.results.store import Store

    if device not in {"cpu", "gpu"}:
        raise UsageError(f"--device: expected cpu or gpu; received {device!r}")
    plugins = Plugins(plugin or [])
    auto = seeds == "auto"
    selection = Selection(
        tasks=task or [],
        backends=backend or [],
        engines=engine or [],
        divisions=division or ["closed"],
        seeds=adaptive.LOOKS[0]
        if auto
        else max(whole("--seeds", seeds, "a number or auto"), replicates),
        repeats=repeats,
        device=device,
        threads=machine.cores() if threads is None else threads,
        max_epochs=max_epochs,
        timeout_s=seconds_of("--timeout", timeout),
        cache=cache,
        replicates=replicates,
        quick=quick,
    )
    observers = chosen_observers(observe or [], plugins)
    found: list[Record] = []
    rounds = adaptive.rounds(selection, plugins, found, say) if auto else iter([])
    trials = next(rounds) if auto else plan(selection, plugins)
    if any(trial.division not in selection.divisions for trial in trials):
        say("a recipe differs from the closed one: recorded as open")
    store = Store(results, quick=quick)
    keys = None if auto else {trial.key for trial in trials}
    done = {} if force else store.done(machine.facts(), keys=keys)
    if auto:
        say(f"seeds auto: looks after {', '.join(map(str, adaptive.LOOKS))} seeds")
    if dry_run:
        for trial in trials:
            say(f"{'done' if trial.key in done else 'run '}  {trial.name}", to=sys.stdout)
        return
    store.check_writable()
    if save_models is not None:
        Store(save_models).check_writable()
    matrix = Matrix(
        plugins=plugins,
        store=store,
        command=["echobench", *sys.argv[1:]],
        save_models=save_models,
        about={
            "seeds": adaptive.rule() if auto else {"rule": "fixed", "seeds": selection.seeds},
            **(machine.who() if tell_host else {}),
        },
        watch=watch and can_watch(),
        deadline=time.monotonic() + seconds_of("--budget", budget) if budget else math.inf,
    )
    failed = False
    for planned in itertools.chain([trials], rounds):
        settled = {record.key for record in found}
        new = {key: trial for trial in planned if (key := trial.key) not in settled}
        missing = [trial for key, trial in new.items() if key not in done]
        if len(missing) < len(new):
            say(f"{len(new) - len(missing)} of {len(new)} trials are done")
        records = watched(matrix, missing, observers)
        found += [done[key] for key in new if key in done] + records
        failed = failed or any(r.status == "failed" or r.failed_parity for r in records)
        if time.monotonic() > matrix.deadline:
            break
    print_results(found)
    if failed:
        raise typer.Exit(1)
