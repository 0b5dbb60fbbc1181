"""`echobench compare`: compare two sides pair by pair."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles, PrintFormat, Results, argument, flag, option
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.text import say


def compare(
    a: Annotated[
        str,
        argument(
            "A", "First side: key=value,... such as backend=jax, PATH, or PATH[key=value,...]"
        ),
    ],
    b: Annotated[str, argument("B", "Second side, written alike; ratios are B / A")],
    results: Results = Path("results"),
    metric: Annotated[
        list[str] | None,
        option(
            "FIELD",
            "Field of the records to compare; repeatable (default: time_to_target_s, "
            "updates_to_target and seconds_per_update)",
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        option(
            "LIMIT",
            "Exit with 3 if B is surely worse, e.g. 'seconds_per_update>+10%', and with 4 where "
            "that cannot be decided in some cell of A; repeatable (default: none)",
        ),
    ] = None,
    allow_undecided: Annotated[
        bool,
        flag("--allow-undecided", "Exit with 0, not 4, where --fail-if cannot be decided"),
    ] = False,
    plugin: PluginFiles = None,
    form: PrintFormat = "table",
) -> None:
    """Compare two sides by the ratios of paired trials, with intervals.

    With --fail-if the exit code is 3 where a limit is broken, and 4 where one cannot be decided
    in some cell of A; a broken one comes first.
    """
    from echobench.analysis import comparison
    from echobench.analysis.gate import Limit, new_cells
    from echobench.analysis.pairs import EACH, NOT_SHOWN, Decision
    from echobench.analysis.sides import Side
    from echobench.plugin.manager import Plugins
    from echobench.present.table import written
    from echobench.present.terminal import drawn, line_of

    limits = [Limit.parse(text) for text in dict.fromkeys(fail_if or [])]
    if allow_undecided and not limits:
        raise UsageError("--allow-undecided: expected with --fail-if, of which it is a part")
    sides = [Side.parse(text, results) for text in (a, b)]
    plugins = Plugins(plugin or [])
    records = (sides[0].records(plugins), sides[1].records(plugins))
    metrics = dict.fromkeys([*(metric or comparison.USUAL), *(limit.metric for limit in limits)])
    framed = comparison.Framed.of(sides[0], sides[1], records)
    if not limits:
        framed.require_pairs()
    elif why := framed.why_no_pairs():
        say(f"careful: {why}")
    comparisons = comparison.compare(framed, list(metrics))
    cautions = [*comparison.cautions(*records), *framed.cautions()]
    say(*(f"careful: {line}" for line in cautions))
    if form == "table":
        console = make_console()
        say(f"A is {a}; B is {b}", to=sys.stdout)
        for name, lines in comparison.as_tables(comparisons).items():
            console.print(drawn(lines, console.width, names=(name, "B against A")))
        if not comparisons:
            say("no pair shows anything: see the trials with echobench table", to=sys.stdout)
        has_interval = [one.verdict.decision is not Decision.FEW for one in comparisons]
        if not all(has_interval):
            console.print(line_of(NOT_SHOWN, "dim"))
        if sum(has_interval) > 1:
            console.print(line_of(EACH, "dim"))
    else:
        print(written(comparison.as_rows(comparisons), form))
    if limits:
        say(*(f"careful: only B has {cell}, so it is not compared" for cell in new_cells(framed)))
    undecided = [line for limit in limits for line in limit.undecided(framed, comparisons)]
    say(*(f"undecided: {line}" for line in dict.fromkeys(undecided)))
    broken = [one for limit in limits for one in limit.broken(comparisons)]
    for one in broken:
        say(f"regression: {one.task} {one.cell} {one.metric}: {one.words}")
    if broken:
        raise typer.Exit(3)
    if undecided and not allow_undecided:
        raise typer.Exit(4)
