"""`echobench run`: train, certify and record."""

from __future__ import annotations

import itertools
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench import interrupts
from echobench.cli.options import (
    Address,
    ExecutorName,
    MemoryLimit,
    Observe,
    PluginFiles,
    Results,
    Retries,
    memory_limit_of,
    retries_of,
    whole,
)
from echobench.cli.options import seconds as seconds_of
from echobench.cli.running import (
    RESUMES,
    can_watch,
    chosen_executor,
    chosen_observers,
    print_results,
    watched,
)
from echobench.errors import UsageError
from echobench.text import say

if TYPE_CHECKING:
    from echobench.trial.record import Record


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
    devices: Annotated[
        int, typer.Option(help="Train a trial over so many devices, each batch in equal parts.")
    ] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of a worker; all cores.")] = None,
    executor: ExecutorName = "local",
    address: Address = None,
    max_epochs: Annotated[
        int | None, typer.Option(help="Budget of a trial; ten times the tutorial's.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="Limit of a trial: 90s, 10m, 2h.")] = "10m",
    memory_limit: MemoryLimit = None,
    retries: Retries = 0,
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
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Selection, plan
    from echobench.machine import facts
    from echobench.plugin.manager import Plugins
    from echobench.store.folder import Store
    from echobench.store.progress_log import Journal

    if device not in {"cpu", "gpu"}:
        raise UsageError(f"--device: expected cpu or gpu; received {device!r}")
    limit, again = memory_limit_of(memory_limit), retries_of(retries)
    plugins = Plugins(plugin or [])
    place = chosen_executor(executor, address, plugins)
    if not place.local and (cache or watch):
        raise UsageError(
            f"--executor {place.name}: expected neither --cache nor --watch; compiled programs "
            "stay on their machine, and one trial at a time can be watched"
        )
    auto = seeds == "auto"
    if auto:
        from echobench.harness import adaptive  # with pandas, which no trial needs
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
        devices=devices,
        threads=facts.cores() if threads is None else threads,
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
    # What ran on any machine of many need not run again.
    here = facts.facts() if place.local else None
    journal = Journal(store.folder, here, keys)
    done = journal.done()
    if force:
        done.clear()
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
            **(facts.who() if tell_host else {}),
        },
        watch=watch and can_watch(),
        memory_limit=limit,
        retries=again,
        executor=place,
        deadline=time.monotonic() + seconds_of("--budget", budget) if budget else math.inf,
    )
    failed = False
    settled: set[str] = set()
    with interrupts.comforted(RESUMES):
        for planned in itertools.chain([trials], rounds):
            new = {key: trial for trial in planned if (key := trial.key) not in settled}
            missing = [trial for key, trial in new.items() if key not in done]
            if len(missing) < len(new):
                say(f"{len(new) - len(missing)} of {len(new)} trials are done")
            failed |= watched(matrix, missing, observers, journal)
            settled |= new.keys()
            if auto:
                found[:] = {r.key: r for r in store.of(here, settled)}.values()
            if time.monotonic() > matrix.deadline:
                break
        print_results(store, here, settled)
    if failed:
        raise typer.Exit(1)
