"""`echobench tune`: a search for an open recipe."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from echobench import interrupts
from echobench.cli import options
from echobench.cli.options import option
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.text import say

if TYPE_CHECKING:
    from echobench.harness.tuning import Search
    from echobench.store.search_log import Candidate


def tune(
    task: Annotated[str, option("NAME", "Task to find a recipe for, NAME or NAME[key=value,...]")],
    backend: Annotated[
        str | None, option("NAME", "Backend to measure on (default: the reference backend, jax)")
    ] = None,
    engine: Annotated[
        str | None, option("NAME", "Engine to measure (default: the backend's usual one)")
    ] = None,
    fix: Annotated[
        list[str] | None,
        option(
            "FIELD=VALUE",
            "Field of the recipe to fix instead of searching it; repeatable (default: none)",
        ),
    ] = None,
    seeds: Annotated[int, option("N", "Tuning seeds to run each candidate with")] = 3,
    budget: Annotated[
        str,
        option("TIME", "Start no new trial after this long, e.g. 20m; the same command resumes"),
    ] = "30m",
    candidates: Annotated[
        int | None, option("N", "Try at most N candidates (default: as many as the budget allows)")
    ] = None,
    timeout: Annotated[
        str,
        option(
            "TIME", "Stop a trial after this long, until the best candidate sets a shorter limit"
        ),
    ] = "10m",
    memory_limit: options.MemoryLimit = None,
    retries: options.Retries = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    smt: options.Smt = False,
    env: options.Variables = None,
    results: Annotated[
        Path | None, option("FOLDER", "Folder of the records (default: results/tune/TASK)")
    ] = None,
    form: options.PrintFormat = "table",
    plugin: options.PluginFiles = None,
) -> None:
    """Search for a faster open recipe; the same command again resumes."""
    from echobench import flow
    from echobench.harness import tuning
    from echobench.harness.plan import Selection
    from echobench.harness.request import Options
    from echobench.machine.cores import most_threads
    from echobench.plugin.manager import Plugins
    from echobench.present import progress
    from echobench.present.table import candidate_sentence
    from echobench.store.locks import SEARCHES, FolderLocks
    from echobench.store.search_log import SearchLog, best
    from echobench.text import file_name
    from echobench.trial.selectors import pairs

    options.needs("tune", "tune", "optuna")
    if candidates is not None and candidates < 1:
        raise UsageError(f"--candidates: expected 1 or more; received {candidates}")
    plugins = Plugins(plugin or [])
    selection = Selection(
        backends=[tuning.search_backend(backend, plugins)],
        engines=[] if engine is None else [engine],
        seeds=seeds,
        device=device,
        threads=most_threads(smt) if threads is None else threads,
        smt=smt,
        timeout_s=options.seconds_of("--timeout", timeout),
        environment=options.variables_of(env),
    )
    fixed = pairs("--fix", fix or [], "FIELD=VALUE")
    search = tuning.plan_search(task, fixed, selection, plugins)
    how = Options(
        results=results or Path("results") / "tune" / file_name(search.name),
        memory_limit=options.memory_limit_of(memory_limit),
        retries=options.retries_of(retries),
        budget_s=options.seconds_of("--budget", budget),
    )
    # The best recipe is run again to be reported, and passes the parity gate there.
    session = flow.Session(how, options.command_line(), plugins=plugins, gate=False)
    session.check_threads(selection)
    session.prepare()
    store = session.store
    locks = FolderLocks(store.folder, SEARCHES)
    if not locks.acquire([json.dumps(search.conditions, sort_keys=True)]):
        raise UsageError(
            f"--results {store.folder}: another echobench tune searches the same there; wait for "
            "it, or name another folder"
        )
    log = SearchLog(store.folder, search.conditions)
    if log.candidates:
        say(f"{len(log.candidates)} candidates are tried")
    if log.others:
        say(f"{log.others} candidates were tried under other conditions, and are left out")
    comfort = "candidates and trials so far are recorded; the same command resumes"
    with interrupts.on_interrupt_say(comfort), progress.watcher(None) as watcher:
        for candidate in tuning.run_search(search, session.matrix, log, watcher, say, candidates):
            say(f"candidate {candidate.number}: {candidate_sentence(candidate)}")
            if candidate == best(log.candidates):
                say(f"    the best so far: {search.label(candidate.recipe)}")
    _print(search, log.candidates, form)


def _print(search: Search, tried: list[Candidate], form: options.Format) -> None:
    """Print the best few, and the best one ready to run and to commit."""
    from echobench.harness.search_space import SEARCHED
    from echobench.plugin.files import option_of
    from echobench.present.table import candidate_rows, seconds_text, written
    from echobench.present.terminal import drawn
    from echobench.store.search_log import best

    lines = candidate_rows(tried, search.recipe, SEARCHED)
    if form != "table":
        selectors = {str(one.number): search.label(one.recipe) for one in tried}
        print(written([{**line, "selector": selectors[line["candidate"]]} for line in lines], form))
        return
    if lines:
        console = make_console()
        console.print(drawn(lines, console.width, ("candidate",), ("seeds",)))
    counted = Counter(one.status for one in tried)
    statuses = ", ".join(f"{number} {status}" for status, number in counted.most_common())
    print(f"{len(tried)} candidates{f': {statuses}' if statuses else ''}")
    found = best(tried)
    if found is None:
        print("none reached the target with its median seed; a longer --budget or --timeout may")
        return
    first = next((one for one in tried if one.recipe == search.recipe), found)
    origin = f"{seconds_text(found.objective)} over {len(found.seeds)} tuning seeds"
    if found != first:
        origin += f"; at the start {seconds_text(first.objective) or first.status}"
    trial = search.trials[0]
    given = (f"--env {shlex.quote(f'{n}={v}')} " for n, v in trial.environment.items())
    print(
        f"\nechobench run --backend {trial.backend} --engine {trial.engine} "
        f"--division {search.division} --seeds {len(search.trials)} {''.join(given)}"
        f"--task '{search.label(found.recipe)}'{option_of(trial.plugins)}"
    )
    print(f"\n{toml(search.name, found, origin)}")


def toml(name: str, candidate: Candidate, comment: str) -> str:
    """Return a candidate's recipe as a table of TOML, without what is default."""
    changed = candidate.recipe.model_dump(exclude_defaults=True)
    key = name if name.replace("-", "").replace("_", "").isalnum() else json.dumps(name)
    fields = [f"{field} = {json.dumps(value)}" for field, value in changed.items()]
    return "\n".join([f"# {comment}", f"[{key}]", *fields])
