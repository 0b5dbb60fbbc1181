"""`echobench run`: train, certify and record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from echobench.errors import UsageError


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
    from echobench import flow
    from echobench.machine import facts

    if device not in {"cpu", "gpu"}:
        raise UsageError(f"--device: expected cpu or gpu; received {device!r}")
    auto = seeds == "auto"
    number = 1 if auto else whole("--seeds", seeds, "a number or auto")
    request = flow.Request(
        tasks=task or [],
        backends=backend or [],
        engines=engine or [],
        divisions=division or ["closed"],
        seeds=number if auto else max(number, replicates),
        auto=auto,
        repeats=repeats,
        replicates=replicates,
        device=device,
        devices=devices,
        threads=facts.usable_cores() if threads is None else threads,
        max_epochs=max_epochs,
        timeout_s=seconds_of("--timeout", timeout),
        cache=cache,
        quick=quick,
        force=force,
        results=results,
        plugin_files=plugin or [],
        executor=executor,
        address=address,
        observers=observe or [],
        watch=watch,
        save_models=save_models,
        tell_host=tell_host,
        memory_limit=memory_limit_of(memory_limit),
        retries=retries_of(retries),
        budget_s=seconds_of("--budget", budget) if budget else None,
    )
    if flow.execute(request, dry_run=dry_run, table=True).failed:
        raise typer.Exit(1)
