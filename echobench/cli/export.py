"""`echobench export`: write the records in the format of another tool."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles, Quick, Results, must_be_folder, needs
from echobench.errors import UsageError
from echobench.text import say


class ExportFormat(enum.StrEnum):
    """Formats of an export."""

    PYTEST_BENCHMARK = "pytest-benchmark"


class ExportMetric(enum.StrEnum):
    """Fields that an export can describe."""

    SECONDS_PER_UPDATE = "seconds_per_update"
    TIME_TO_TARGET = "time_to_target_s"


def export(
    form: Annotated[
        ExportFormat, typer.Option("--format", help="Format to write")
    ] = ExportFormat.PYTEST_BENCHMARK,
    results: Results = Path("results"),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write to (default: stdout)"),
    ] = None,
    metric: Annotated[
        ExportMetric, typer.Option(help="Field that the statistics over the seeds describe")
    ] = ExportMetric.SECONDS_PER_UPDATE,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Export only machines whose name contains this (default: the only one)",
        ),
    ] = None,
    plugin: PluginFiles = None,
    quick: Quick = False,
) -> None:
    """Write the records in the format of another tool."""
    from echobench.plugin.manager import Plugins
    from echobench.present.benchmarks import document, of_one_machine
    from echobench.store.folder import Store
    from echobench.store.referee import sorted_out
    from echobench.trial.record import latest

    needs("export", "benchmark", "pytest_benchmark")
    must_be_folder(results)
    records, moved = sorted_out(latest(Store(results, quick=quick).load()), Plugins(plugin or []))
    if not records:
        raise UsageError(f"export: no records in {results}; make some with: echobench run")
    exported, notes = document(of_one_machine(records, machine), metric.value)
    text = json.dumps(exported, indent=4)
    if output is None:
        print(text)
    else:
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"--output {output}: expected a file that can be written; {error.strerror}"
            ) from error
    say(*(f"careful: {line}" for line in [*notes, *moved]))
    if output is not None:
        say(f"wrote {output}; see: pytest-benchmark compare {output}")
