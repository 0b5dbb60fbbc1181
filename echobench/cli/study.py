"""`echobench study`: one question, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from echobench import interrupts
from echobench.cli import options
from echobench.cli.options import argument, flag, option
from echobench.errors import UsageError
from echobench.output import make_console


def study(
    name: Annotated[str, argument("NAME", "Study to run (see: `echobench list`)")],
    backend: Annotated[
        list[str] | None, option("NAME", "Backend to run; repeatable (default: the study's own)")
    ] = None,
    seeds: Annotated[
        int | None, option("N", "Seeds of each variant (default: the study's own number)")
    ] = None,
    threads: options.Threads = None,
    smt: options.Smt = False,
    jobs: options.Jobs = None,
    executor: options.ExecutorName = "local",
    address: options.Address = None,
    env: options.Variables = None,
    timeout: Annotated[
        str | None,
        option(
            "TIME", "Stop a trial after this long, e.g. 90s or 10m (default: the study's own limit)"
        ),
    ] = None,
    memory_limit: options.MemoryLimit = None,
    retries: options.Retries = 0,
    results: Annotated[
        Path | None, option("FOLDER", "Folder of the records (default: results/studies/NAME)")
    ] = None,
    form: options.PrintFormat = "table",
    plugin: options.PluginFiles = None,
    observe: options.Observe = None,
    table_only: Annotated[
        bool, flag("--table", "Run nothing; print the table of the recorded trials")
    ] = False,
) -> None:
    """Run a study: one question, one table; the same command again resumes."""
    from echobench import flow
    from echobench.analysis.scaling import measured, remarks
    from echobench.harness.plan import Selection
    from echobench.harness.request import Options
    from echobench.harness.studies import (
        DISPENSABLE,
        answers,
        interleaved,
        measurements,
        plan_study,
    )
    from echobench.plugin.failures import message_of
    from echobench.present.table import written
    from echobench.present.terminal import drawn, line_of
    from echobench.trial.record import latest

    session = flow.Session(
        Options(
            results=results or Path("results") / "studies" / name,
            plugin_files=plugin or [],
            executor=executor,
            jobs=jobs,
            address=address,
            observers=observe or [],
            memory_limit=options.memory_limit_of(memory_limit),
            retries=options.retries_of(retries),
        ),
        options.command_line(),
    )
    provided = session.plugins.studies[name]
    asked = provided.value
    limit_s = None if timeout is None else options.seconds_of("--timeout", timeout)
    try:
        backends = backend or [session.plugins.backends[asked.backend].value.name]
        if limit_s is None:
            limit_s = options.seconds_of("timeout", asked.timeout)
    except UsageError as error:
        raise provided.fault(message_of(error)) from error
    selection = Selection(
        backends=backends,
        seeds=asked.seeds if seeds is None else seeds,
        threads=options.threads_of(threads, smt, executor, jobs),
        smt=smt,
        side_by_side=session.side_by_side,
        timeout_s=limit_s,
        environment=options.variables_of(env),
    )
    if not table_only:
        selection = session.usable(selection)
    planned = provided.call(lambda _: plan_study(asked, selection, session.plugins))
    if table_only:
        found = latest(session.store.load())
    else:
        trials = interleaved(trial for group in planned.values() for trial in group)
        session.keys = {trial.key for trial in trials}
        session.declare(selection)
        session.prepare()
        # A trial out of time would be so again: in a study that is an answer.
        done = session.done(session.keys, also=("timeout",))
        with interrupts.on_interrupt_say(session.so_far):
            left = session.make(trials, done)
        session.say_what_is_left(left)
        found = list({record.key: record for record in session.records()}.values())
    rows = answers(planned, found)
    if form != "table":
        print(written(rows, form))
        return
    console = make_console()
    console.print(line_of(asked.question))
    several = len(selection.backends) > 1
    names = ("variant", "backend") if several else ("variant",)
    # Where sizes are compared, what an update costs is the answer, and stays.
    kept = {*names, *(["ms/update"] if asked.axes else [])}
    dispensable = [name for name in DISPENSABLE if name not in kept]
    console.print(drawn(rows, console.width, names, dispensable))
    chosen = [record for record in found if record.backend in selection.backends]
    for line in remarks(measured(measurements(asked, chosen, session.plugins))):
        console.print(line_of(line, "dim"))
