"""`echobench export`: write the records in the format of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from echobench.cli.options import PluginFiles, Quick, Results, must_be_folder, needs, option
from echobench.errors import UsageError
from echobench.text import say


def export(
    form: Annotated[
        Literal["pytest-benchmark"], typer.Option("--format", help="Format to write")
    ] = "pytest-benchmark",
    results: Results = Path("results"),
    output: Annotated[
        Path | None, option("FILE", "File to write to (default: stdout)", "--output", "-o")
    ] = None,
    metric: Annotated[
        Literal["seconds_per_update", "time_to_target_s"],
        typer.Option(help="Field that the statistics over the seeds describe"),
    ] = "seconds_per_update",
    machine: Annotated[
        str | None,
        option("NAME", "Export only machines whose name contains this (default: the only one)"),
    ] = None,
    plugin: PluginFiles = None,
    quick: Quick = False,
) -> None:
    """Write the records in the format of another tool."""
    from echobench.plugin.manager import Plugins
    from echobench.present import writing
    from echobench.present.benchmarks import document, of_one_machine
    from echobench.store.folder import Store
    from echobench.store.referee import sorted_out
    from echobench.trial.record import latest

    needs("export", "benchmark", "pytest_benchmark")
    must_be_folder(results)
    records, moved = sorted_out(latest(Store(results, quick=quick).load()), Plugins(plugin or []))
    if not records:
        raise UsageError(f"export: no records in {results}; make some with: echobench run")
    exported, notes = document(of_one_machine(records, machine), metric)
    text = json.dumps(exported, indent=4)
    if output is None:
        print(text)
    else:
        with writing(output):
            output.write_text(text + "\n", encoding="utf-8")
    say(*(f"careful: {line}" for line in [*notes, *moved]))
    if output is not None:
        say(f"wrote {output}; see: pytest-benchmark compare {output}")
