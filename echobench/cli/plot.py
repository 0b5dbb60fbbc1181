"""`echobench plot`: draw the records as a figure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echobench.cli import options
from echobench.cli.options import argument, option
from echobench.errors import UnknownNameError, UsageError
from echobench.text import say

if TYPE_CHECKING:
    from echobench.plugin.manager import Plugins
    from echobench.trial.record import Record

KINDS = ("learning", "survival", "updates", "phases", "break-even")


def plot(
    kind: Annotated[
        str, argument("KIND", f"Figure to draw: {', '.join(KINDS)}, or a study of sizes, e.g. size")
    ],
    output: Annotated[
        Path, option("FILE", "File to write: FILE.svg, FILE.png or FILE.pdf", "--output", "-o")
    ],
    results: Annotated[
        Path | None,
        option(
            "FOLDER", "Folder of the records (default: results; for a study results/studies/KIND)"
        ),
    ] = None,
    clock: Annotated[
        options.Clock, typer.Option(help="What the time to target of survival includes")
    ] = "train",
    task: options.Tasks = None,
    backend: options.Backends = None,
    engine: options.Engines = None,
    division: options.Divisions = None,
    status: options.Statuses = None,
    seed: options.Seeds = None,
    plugin: options.PluginFiles = None,
) -> None:
    """Draw a figure of the records."""
    from echobench.analysis.scaling import measured
    from echobench.harness.studies import measurements
    from echobench.plugin.manager import Plugins
    from echobench.present.figures import form_of
    from echobench.present.figures.sizes import write_sizes

    form_of(output)
    plugins = Plugins(plugin or [])
    studies = {name: one.value for name, one in plugins.studies.items() if one.value.axes}
    if kind not in {*KINDS, *studies}:
        raise UnknownNameError("plot", kind, [*KINDS, *studies])
    options.needs("plot", "plot", "matplotlib")
    home = Path("results")
    folder = results or (home if kind in KINDS else home / "studies" / kind)
    options.must_be_folder(folder)
    wanted = options.filters(
        task=task, backend=backend, engine=engine, division=division, status=status, seed=seed
    )
    records = _matching(folder, wanted, plugins)
    if kind in KINDS:
        if not records:
            raise UsageError(f"--results {folder}: expected records; found none")
        _write(kind, output, records, clock)
    else:
        sizes = measured(measurements(studies[kind], records, plugins))
        if not sizes:
            raise UsageError(
                f"--results {folder}: expected records of `echobench study {kind}` with "
                "times of updates; found none"
            )
        write_sizes(output, sizes, studies[kind].base)
    say(f"wrote {output}")


def _matching(folder: Path, wanted: dict[str, list[str]], plugins: Plugins) -> list[Record]:
    from echobench.analysis.frame import frame, only
    from echobench.store.folder import Store
    from echobench.store.referee import sorted_out
    from echobench.trial.record import latest

    records, moved = sorted_out(latest(Store(folder).load()), plugins)
    say(*moved)
    return [records[position] for position in only(frame(records), wanted).index]


def _write(kind: str, output: Path, records: list[Record], clock: options.Clock) -> None:
    from echobench.present.figures import panels_of
    from echobench.present.figures.bars import write_phases, write_updates
    from echobench.present.figures.lines import write_break_even, write_learning, write_survival

    writers: dict[str, Callable[..., None]] = {
        "learning": write_learning,
        "survival": functools.partial(write_survival, clock=clock),
        "updates": write_updates,
        "phases": write_phases,
        "break-even": write_break_even,
    }
    writers[kind](output, panels_of(records))
