"""`echobench merge`: merge records from anywhere into one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles, RecordPaths, option
from echobench.errors import UsageError
from echobench.text import counted, say


def merge(
    sources: RecordPaths,
    into: Annotated[Path, option("FOLDER", "Folder to merge into; its records stay")],
    plugin: PluginFiles = None,
) -> None:
    """Merge records of several folders or machines into one folder, each record once.

    Damaged lines and impossible records are named and left out; the exit code is then 1.
    """
    from echobench.store import merge
    from echobench.store.reading import MAX_NAMED, is_blank

    if into.exists() and not into.is_dir():
        raise UsageError(f"--into: expected a folder; received {str(into)!r}")
    files = merge.sources_of(sources, into, plugin or [])
    if all(is_blank(file.path) for file in files):
        raise UsageError(f"merge: no records in {', '.join(map(str, sources))}")
    merged = merge.merge(files, into)
    for conflict in merged.conflicts[:MAX_NAMED]:
        say(f"{conflict}: not the same, of one trial, machine and start; both are there")
    if len(merged.conflicts) > MAX_NAMED:
        say(f"{len(merged.conflicts) - MAX_NAMED:,} more like these")
    known = merged.read - merged.new
    say(
        f"{into}: {merged.new:,} new records; {known:,} were there already, or twice; "
        f"{counted(len(merged.written), 'file')} written, {merged.removed:,} replaced"
    )
    if merged.left_out.counts or merged.conflicts:
        raise typer.Exit(1)
