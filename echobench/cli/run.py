"""`echobench run`: train, certify and record."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench.cli import options
from echobench.cli.options import flag, option
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.text import say

if TYPE_CHECKING:
    from echobench.harness.outlook import Outlook

LONG_S = 3600.0
"""A run that takes longer is begun on a terminal only once the user agrees."""


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
    forks: Annotated[
        int | None,
        option(
            "F",
            "Deal the seeds of each cell over F processes, each of which trains its seeds in turn "
            "(default: 5, or one a seed if there are fewer)",
        ),
    ] = None,
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
    jobs: options.Jobs = None,
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
        bool,
        flag("--dry-run", "Print what would run and how long it would take, and run nothing"),
    ] = False,
    listed: Annotated[
        bool,
        flag(
            "--list",
            "Print each trial, those that are done and then those that would run, in the order in "
            "which they start, and run nothing",
        ),
    ] = False,
    as_json: Annotated[
        bool, flag("--json", "With --dry-run or --list: print JSON, for scripts")
    ] = False,
    yes: Annotated[
        bool,
        flag("--yes", "Do not ask, on a terminal, before a run of more than an hour"),
    ] = False,
    force: Annotated[bool, flag("--force", "Run recorded trials again")] = False,
) -> None:
    """Train, certify and record trials; the same command again resumes."""
    from echobench import flow
    from echobench.harness.request import Request

    if as_json and not (dry_run or listed):
        raise UsageError(
            "--json: expected --dry-run or --list beside it; for records see: echobench table"
        )
    auto = seeds == "auto"
    if not auto and not re.fullmatch(r"-?\d+", seeds):
        raise UsageError(f"--seeds: expected a number or auto; received {seeds!r}")
    count = 1 if auto else int(seeds)
    request = Request(
        tasks=task or [],
        backends=backend or [],
        engines=engine or [],
        divisions=division or ["closed"],
        seeds=max(count, replicates) if count > 0 else count,  # what is refused stays as it was
        auto=auto,
        repeats=repeats,
        forks=forks,
        replicates=replicates,
        device=device,
        devices=devices,
        threads=options.threads_of(threads, smt, executor, jobs),
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
        jobs=jobs,
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
    command = options.command_line()
    if dry_run or listed:
        _print_outlook(flow.look_ahead(request, command), listed=listed, as_json=as_json)
        return
    agrees = (lambda outlook: True) if yes else partial(_agrees, command)
    if flow.execute(request, command, agrees=agrees, table=True).failed:
        raise typer.Exit(1)


def _print_outlook(outlook: Outlook, *, listed: bool, as_json: bool) -> None:
    """Print what is ahead of a run: each trial if `listed`, else a table; or the same as JSON."""
    if as_json:
        print(json.dumps(outlook.listed() if listed else outlook.to_dict(), indent=2))
    elif listed:
        for trial, status in outlook.in_order():
            say(f"{'done' if status is not None else 'run '}  {trial.name}", to=sys.stdout)
    else:
        from echobench.present.outlook import outlook_table

        console = make_console()
        for part in outlook_table(outlook, console.width):
            console.print(part)


def _agrees(command: Sequence[str], outlook: Outlook) -> bool:
    """Ask on a terminal before a run that takes more than an hour; elsewhere return True."""
    if outlook.longest_s <= LONG_S or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    say(outlook.total)
    if outlook.at_limits is not None:
        say(outlook.at_limits)
    print("Begin? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    say(f"nothing was run; this runs it: {shlex.join([*command, '--yes'])}")
    return False
