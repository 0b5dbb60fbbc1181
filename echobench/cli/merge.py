"""`echobench merge`: records from anywhere, in one folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import PluginFiles
from echobench.errors import UsageError


def merge(
    sources: Annotated[
        list[Path], typer.Argument(help="Files of records, or folders, with all in them.")
    ],
    into: Annotated[Path, typer.Option(help="Folder that takes them; what is there stays.")],
    plugin: PluginFiles = None,
) -> None:
    """Join records of several folders or machines in one, each once.

    Damaged lines and records that cannot be true stay behind, named, and make the exit code 1.
    """
    from echobench.store import merge
    from echobench.store.reading import MAX_NAMED

    if into.exists() and not into.is_dir():
        raise UsageError(f"--into: expected a folder; received {str(into)!r}")
    files = merge.sources_of(sources, into, plugin or [])
    done = merge.merge(files, into)
    for conflict in done.conflicts[:MAX_NAMED]:
        print(
            f"{conflict}: not the same, of one trial, machine and start; both are there",
            file=sys.stderr,
        )
    if len(done.conflicts) > MAX_NAMED:
        print(f"{len(done.conflicts) - MAX_NAMED:,} more like these", file=sys.stderr)
    old = done.read - done.new
    print(
        f"{into}: {done.new:,} new records; {old:,} were there already, or twice; "
        f"{len(done.written):,} files written, {done.removed:,} replaced",
        file=sys.stderr,
    )
    if done.left_out.counts or done.conflicts:
        raise typer.Exit(1)
