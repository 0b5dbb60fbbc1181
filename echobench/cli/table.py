"""`echobench table`: the results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import Clock, Format, PluginFiles, Results
from echobench.errors import UsageError


def table(
    results: Results = Path("results"),
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    clock: Annotated[
        Clock, typer.Option(help="What counts into the time to target; json and csv hold it all.")
    ] = Clock.TRAIN,
    plugin: PluginFiles = None,
    quick: Annotated[bool, typer.Option("--quick", help="The smoke runs instead.")] = False,
) -> None:
    """Print the results table."""
    from rich.console import Console

    from echobench.plugins import Plugins
    from echobench.results import frame
    from echobench.results import table as tables
    from echobench.results.divisions import sorted_out_frame
    from echobench.results.footnotes import chosen, footnotes
    from echobench.results.store import Store

    if not results.is_dir():
        raise UsageError(f"--results: expected a folder of records; received {str(results)!r}")
    everything = frame.load(Store(results, quick=quick).folder)
    records, moved = sorted_out_frame(frame.latest(everything), Plugins(plugin or []))
    if form is not Format.TABLE:
        for text in tables.render(records, form.value, clock.value):
            sys.stdout.write(text)
        print()
    elif len(records):
        console = Console()
        console.print(tables.terminal(records, console.width, clock.value))
        for line in [*footnotes(records), *chosen(everything), *moved]:
            console.print(line, style="dim", markup=False, highlight=False)
    else:
        print(f"no records in {results}; make some with: echobench run", file=sys.stderr)
