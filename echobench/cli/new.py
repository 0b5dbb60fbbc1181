"""`echobench new`: the start of a plugin of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from echobench.text import say

app = typer.Typer(help="Write the start of a plugin of your own.", no_args_is_help=True)


@app.callback()
def new() -> None:
    """Write the start of a plugin of your own."""
    # Typer needs this: an app of one command would swallow the command's name.


@app.command()
def task(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    directory: Annotated[
        Path | None, typer.Option(help="Where, new or empty; ./echobench-NAME.")
    ] = None,
) -> None:
    """Write a distribution that holds a task, with its tests."""
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
