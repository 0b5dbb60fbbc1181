"""`echobench plot`: what is recorded, as a figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles
from echobench.errors import UnknownNameError, UsageError


def plot(
    kind: Annotated[str, typer.Argument(help="Which: a study of sizes, such as `size`.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The figure: FILE.svg, .png or .pdf.")
    ],
    results: Annotated[
        Path | None, typer.Option(help="Folder of the records; results/studies/KIND.")
    ] = None,
    plugin: PluginFiles = None,
) -> None:
    """Draw a figure of what is recorded."""
    from echobench.core.backend import why_missing
    from echobench.harness.studying import measurements
    from echobench.plugins import Plugins
    from echobench.results.figures import form_of, write_sizes
    from echobench.results.sizes import curves
    from echobench.results.store import Store, latest

    form_of(output)
    plugins = Plugins(plugin or [])
    studies = {name: one.value for name, one in plugins.studies.items() if one.value.axes}
    if kind not in studies:
        raise UnknownNameError("plot", kind, studies)
    missing = why_missing(("matplotlib",), "plot")
    if missing is not None:
        raise UsageError(f"plot: {missing}")
    folder = results or Path("results") / "studies" / kind
    if not folder.is_dir():
        raise UsageError(f"--results: expected a folder of records; received {str(folder)!r}")
    drawn = curves(measurements(studies[kind], latest(Store(folder).load()), plugins))
    if not drawn:
        raise UsageError(
            f"--results {folder}: expected records of `echobench study {kind}` with "
            "times of updates; found none"
        )
    write_sizes(output, drawn, studies[kind].base)
    print(f"wrote {output}", file=sys.stderr)
