"""`echobench table`: print the results table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from echobench.cli import options
from echobench.cli.options import option
from echobench.errors import UsageError
from echobench.output import make_console
from echobench.present import writing
from echobench.text import say

if TYPE_CHECKING:
    from echobench.analysis.table import Group


def table(
    results: options.Results = Path("results"),
    form: Annotated[
        Literal[options.Format, "parquet"], typer.Option("--format", help="Format of the output")
    ] = "table",
    clock: Annotated[
        options.Clock,
        typer.Option(
            help="What the time to target includes: training; compiling too; or all since the "
            "process started. json, csv and parquet hold all three"
        ),
    ] = "train",
    group_by: Annotated[
        str | None,
        option(
            "COLUMNS",
            "Columns whose rows form a group, with its best row marked, e.g. backend or "
            "task,device (default: task,division)",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        option(
            "COLUMN",
            "Column to sort each group by; -COLUMN puts the largest first (default: names)",
        ),
    ] = None,
    task: options.Tasks = None,
    backend: options.Backends = None,
    engine: options.Engines = None,
    division: options.Divisions = None,
    status: options.Statuses = None,
    seed: options.Seeds = None,
    output: Annotated[
        Path | None, option("FILE", "File to write to (default: the terminal)", "--output", "-o")
    ] = None,
    plugin: options.PluginFiles = None,
    quick: options.Quick = False,
) -> None:
    """Print the results table."""
    from echobench.analysis import frame
    from echobench.analysis.footnotes import absent, chosen, footnotes
    from echobench.analysis.table import GROUP_BY, grouped
    from echobench.analysis.twins import alike
    from echobench.plugin.manager import Plugins
    from echobench.present import table as tables
    from echobench.present.sentences import verdicts
    from echobench.store.folder import Store

    options.must_be_folder(results)
    if form == "parquet":
        options.needs("--format parquet", "parquet", "pyarrow")
        if output is None and sys.stdout.isatty():
            raise UsageError(
                "--format parquet: expected --output FILE or a pipe; it is no text to read"
            )
    chosen_rows = options.filters(task=task, backend=backend, engine=engine)
    everything = frame.only(frame.load(Store(results, quick=quick).folder), chosen_rows)
    latest, moved = frame.sorted_out_frame(frame.latest(everything), Plugins(plugin or []))
    records = frame.only(latest, options.filters(division=division, status=status, seed=seed))
    names = tuple(group_by.split(",")) if group_by else ()
    if form in {"json", "csv", "parquet"}:
        flat = tables.ordered(records, names, sort)
        with _opened(output, binary=form == "parquet") as file:
            if form == "parquet":
                file.write(tables.parquet(flat))
            else:
                for text in (*tables.render(flat, form), "\n"):
                    file.write(text)
        return
    groups = grouped(records, clock, names or GROUP_BY, sort)
    with _opened(output) as file:
        if form == "md":
            print(tables.written(tables.lines(groups), form), file=file)
        elif groups:
            notes = [
                *tables.legend(groups, names or GROUP_BY),
                *footnotes(records, clock),
                *alike(records),
                *chosen(everything, tables.shown(groups)),
                *absent(frame.only(latest, options.filters(division=division))),
                *moved,
            ]
            asked = [*names, *([sort.removeprefix("-")] if sort else [])]
            _show(file, groups, asked, notes, verdicts(groups, clock, results))
        else:
            say(_nothing(results, quick=quick))


def _nothing(results: Path, *, quick: bool) -> str:
    """Say that there are no records, and whether there are smoke runs."""
    from echobench.store.folder import smoke_runs_only

    runs = "smoke runs" if quick else "records"
    nothing = f"no {runs} in {results}; make some with: echobench run{' --quick' * quick}"
    return nothing if quick else smoke_runs_only(results) or nothing


def _show(
    file: IO[str],
    groups: Sequence[Group],
    asked: Sequence[str],
    notes: list[str],
    sentences: list[str],
) -> None:
    from echobench.present.table import terminal
    from echobench.present.terminal import line_of

    console = make_console(file=file)
    console.print(terminal(groups, console.width, asked))
    for line in notes:
        console.print(line_of(line, "dim"))
    if sentences:
        console.print()
    for line in sentences:
        console.print(line_of(line))


@contextlib.contextmanager
def _opened(output: Path | None, *, binary: bool = False) -> Iterator[IO[Any]]:
    if output is None:
        yield sys.stdout.buffer if binary else sys.stdout
        return
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb" if binary else "w", encoding=None if binary else "utf-8") as file:
            yield file
