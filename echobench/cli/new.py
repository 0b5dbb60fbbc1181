"""`echobench new`: write the files of a new plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import argument, option
from echobench.text import say

app = typer.Typer(
    help="Write the files of a new plugin.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.callback()
def new() -> None:
    """Write the files of a new plugin."""
    # Typer needs this: an app of one command would swallow the command's name.


@app.command()
def task(
    name: Annotated[
        str, argument("NAME", "Name of the task: lower-case letters, digits and hyphens")
    ],
    directory: Annotated[
        Path | None, option("FOLDER", "New or empty folder to write to (default: ./echobench-NAME)")
    ] = None,
) -> None:
    """Write a distribution with a task and its tests."""
    from echobench.plugin.manager import Plugins
    from echobench.plugin.scaffold import new_task

    written = new_task(name, directory, Plugins())
    for path in written:
        say(f"wrote {path}", to=sys.stdout)
    folder = directory or written[0].parent
    say(
        f"next: pip install -e '{folder}[test]'; echobench check task {name}; pytest {folder}",
        to=sys.stdout,
    )
