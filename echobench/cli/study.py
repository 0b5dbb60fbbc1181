"""`echobench study`: one question, one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench import interrupts
from echobench.cli.options import (
    Address,
    ExecutorName,
    Format,
    MemoryLimit,
    Observe,
    PluginFiles,
    Retries,
    memory_limit_of,
    retries_of,
)
from echobench.cli.options import seconds as seconds_of
from echobench.cli.running import RESUMES, chosen_executor, chosen_observers, watched
from echobench.text import say


def study(
    name: Annotated[str, typer.Argument(help="Which; `echobench list` names them.")],
    backend: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; the study's own.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Of each variant; the study's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a worker; all cores.")] = None,
    executor: ExecutorName = "local",
    address: Address = None,
    timeout: Annotated[
        str | None, typer.Option(help="Limit of a trial: 90s, 10m; the study's own.")
    ] = None,
    memory_limit: MemoryLimit = None,
    retries: Retries = 0,
    results: Annotated[
        Path | None, typer.Option(help="Folder of the records; results/studies/NAME.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    plugin: PluginFiles = None,
    observe: Observe = None,
    table_only: Annotated[
        bool, typer.Option("--table", help="Run nothing; the table of what is recorded.")
    ] = False,
) -> None:
    """Answer a question with a table; the same command again resumes."""
    from rich.console import Console

    from echobench.analysis.scaling import curves, remarks
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Selection
    from echobench.harness.studies import (
        DISPENSABLE,
        answers,
        interleaved,
        measurements,
        plan_study,
    )
    from echobench.machine import facts
    from echobench.plugin.manager import Plugins
    from echobench.present.table import written
    from echobench.present.terminal import drawn, line_of
    from echobench.store.folder import Store
    from echobench.store.progress_log import Journal
    from echobench.trial.record import latest

    limit, again = memory_limit_of(memory_limit), retries_of(retries)
    plugins = Plugins(plugin or [])
    place = chosen_executor(executor, address, plugins)
    here = facts.facts() if place.local else None
    asked = plugins.study(name).value
    observers = chosen_observers(observe or [], plugins)
    selection = Selection(
        backends=backend or [asked.backend],
        seeds=asked.seeds if seeds is None else seeds,
        threads=facts.cores() if threads is None else threads,
        timeout_s=seconds_of("--timeout", timeout or asked.timeout),
    )
    planned = plan_study(asked, selection, plugins)
    store = Store(results or Path("results") / "studies" / name)
    trials = interleaved(trial for group in planned.values() for trial in group)
    if table_only:
        found = latest(store.load())
    else:
        store.check_writable()
        keys = {trial.key: trial for trial in trials}
        # A trial out of time would be so again: in a study that is an answer.
        journal = Journal(store.folder, here, keys)
        done = journal.done(also=("timeout",))
        missing = [trial for key, trial in keys.items() if key not in done]
        if len(missing) < len(trials):
            say(f"{len(trials) - len(missing)} of {len(trials)} trials are done")
        matrix = Matrix(
            plugins=plugins,
            store=store,
            command=["echobench", *sys.argv[1:]],
            memory_limit=limit,
            retries=again,
            executor=place,
        )
        with interrupts.comforted(RESUMES):
            watched(matrix, missing, observers, journal)
        found = list({r.key: r for r in store.of(here, keys)}.values())
    rows = answers(planned, found)
    if form is not Format.TABLE:
        print(written(rows, form.value))
        return
    console = Console()
    console.print(line_of(asked.question))
    several = len(selection.backends) > 1
    names = ("variant", "backend") if several else ("variant",)
    # Where sizes are compared, what an update costs is the answer, and stays.
    kept = {*names, *(["ms/update"] if asked.axes else [])}
    dispensable = [name for name in DISPENSABLE if name not in kept]
    console.print(drawn(rows, console.width, names, dispensable))
    chosen = [record for record in found if record.backend in selection.backends]
    for line in remarks(curves(measurements(asked, chosen, plugins))):
        console.print(line_of(line, "dim"))
