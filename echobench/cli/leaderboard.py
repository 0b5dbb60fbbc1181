"""`echobench leaderboard`: write a static site of records from many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles, RecordPaths, files_of, needs, option
from echobench.text import counted, say


def leaderboard(
    paths: RecordPaths,
    output: Annotated[Path, option("FOLDER", "Folder of the site")] = Path("site"),
    plugin: PluginFiles = None,
) -> None:
    """Write a static site that ranks the valid records of many machines."""
    from echobench.plugin.manager import Plugins

    needs("leaderboard", "report", "jinja2")
    from echobench.analysis.leaderboard import board
    from echobench.present import site

    files = files_of("leaderboard", paths, output)
    ranked = board(files, Plugins(plugin or []))
    site.write(ranked, output)
    rows = sum(map(len, ranked.fields.values()))
    refused = len({finding.where for finding in ranked.refused})
    rows_of = f"{counted(rows, 'row')} of {counted(ranked.records, 'record')}"
    say(f"{output / 'index.html'}: {rows_of}, {refused} refused")
    if not rows:
        say("no record can be shown: the site says why, and has no table")
        raise typer.Exit(1)
