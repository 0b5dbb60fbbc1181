"""`echobench run`: train, certify and record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli import options
from echobench.cli.options import flag, option
from echobench.errors import UsageError


def run(
    backend: options.BackendsToRun = None,
    task: Annotated[
        list[str] | None,
        option("NAME", "Task to run, NAME or NAME[key=value,...]; repeatable (default: all)"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        option(
            "NAME",
            "Engine to run, fused, fit, native or compiled; repeatable (default: each backend's "
            "usual one: fused, or native without Keras)",
        ),
    ] = None,
    division: Annotated[
        list[str] | None,
        option(
            "NAME",
            "Division to run, closed (the tutorial's recipe) or open (our recipe); repeatable "
            "(default: closed)",
        ),
    ] = None,
    seeds: Annotated[
        str,
        option(
            "N|auto",
            "Seeds of each cell, 0 to N-1; auto runs more until each pair of cells is decided",
        ),
    ] = "1",
    repeats: Annotated[
        int, option("N", "How often to run each cell and seed, to compare a cell with itself")
    ] = 1,
    replicates: Annotated[
        int,
        option(
            "N",
            "Train N seeds together in one program, on JAX (0: each seed by itself); runs at "
            "least N seeds",
        ),
    ] = 0,
    device: options.Device = "cpu",
    devices: Annotated[
        int, option("N", "Train each trial on N devices, which share every batch equally")
    ] = 1,
    threads: options.Threads = None,
    smt: options.Smt = False,
    executor: options.ExecutorName = "local",
    address: options.Address = None,
    max_epochs: Annotated[
        int | None,
        option("N", "Train no trial for more epochs (default: ten times the recipe's epochs)"),
    ] = None,
    bound: Annotated[
        float | None,
        option(
            "RATE",
            "Certify that fewer sequences than this share hold an error (default: 0.003); a "
            "certificate needs 3.7 / RATE fresh sequences, and more after each refusal",
        ),
    ] = None,
    env: options.Variables = None,
    timeout: options.Timeout = "10m",
    memory_limit: options.MemoryLimit = None,
    retries: options.Retries = 0,
    budget: Annotated[
        str | None,
        option(
            "TIME",
            "Start no new trial after this long, e.g. 20m; the same command resumes "
            "(default: no limit)",
        ),
    ] = None,
    results: options.Results = Path("results"),
    plugin: options.PluginFiles = None,
    observe: options.Observe = None,
    watch: Annotated[
        bool, flag("--watch", "Show the learning as it happens; needs a terminal")
    ] = False,
    save_models: Annotated[
        Path | None,
        option(
            "FOLDER",
            "Save the trained networks in this folder, as .keras files (default: save none)",
        ),
    ] = None,
    cache: Annotated[
        bool, flag("--cache", "Keep compiled programs, and reuse those kept before")
    ] = False,
    unchecked: Annotated[
        bool,
        flag(
            "--unchecked",
            "Leave certificates unjudged and fingerprints uncompared; no leaderboard takes such "
            "records",
        ),
    ] = False,
    tell_host: Annotated[bool, flag("--tell-host", "Record the names of host and user")] = False,
    quick: Annotated[bool, flag("--quick", "Smoke run of a few epochs, recorded apart")] = False,
    dry_run: Annotated[
        bool, flag("--dry-run", "Print the trials that would run, and run none")
    ] = False,
    force: Annotated[bool, flag("--force", "Run recorded trials again")] = False,
) -> None:
    """Train, certify and record trials; the same command again resumes."""
    from echobench import flow
    from echobench.machine.cores import most_threads

    auto = seeds == "auto"
    if not auto and not re.fullmatch(r"-?\d+", seeds):
        raise UsageError(f"--seeds: expected a number or auto; received {seeds!r}")
    count = 1 if auto else int(seeds)
    request = flow.Request(
        tasks=task or [],
        backends=backend or [],
        engines=engine or [],
        divisions=division or ["closed"],
        seeds=max(count, replicates) if count > 0 else count,  # what is refused stays as it was
        auto=auto,
        repeats=repeats,
        replicates=replicates,
        device=device,
        devices=devices,
        threads=most_threads(smt) if threads is None else threads,
        smt=smt,
        max_epochs=max_epochs,
        bound=bound,
        environment=options.variables_of(env),
        timeout_s=options.seconds_of("--timeout", timeout),
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
        unchecked=unchecked,
        tell_host=tell_host,
        memory_limit=options.memory_limit_of(memory_limit),
        retries=options.retries_of(retries),
        budget_s=None if budget is None else options.seconds_of("--budget", budget),
    )
    if flow.execute(request, options.command_line(), dry_run=dry_run, table=True).failed:
        raise typer.Exit(1)
