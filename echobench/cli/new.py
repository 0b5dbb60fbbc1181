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

Name = Annotated[
    str, argument("NAME", "Name of the plugin: lower-case letters, digits and single hyphens")
]
Directory = Annotated[
    Path | None, option("FOLDER", "New or empty folder to write to (default: ./echobench-NAME)")
]


@app.command()
def task(name: Name, directory: Directory = None) -> None:
    """Write a distribution with a task and its tests."""
    _new("task", name, directory)


@app.command()
def backend(name: Name, directory: Directory = None) -> None:
    """Write a distribution with a backend that runs Keras, and its tests."""
    _new("backend", name, directory)


@app.command()
def peer(name: Name, directory: Directory = None) -> None:
    """Write a distribution with a backend that does without Keras, and its tests."""
    _new("peer", name, directory)


@app.command()
def executor(name: Name, directory: Directory = None) -> None:
    """Write a distribution with an executor and its tests."""
    _new("executor", name, directory)


@app.command()
def observer(name: Name, directory: Directory = None) -> None:
    """Write a distribution with an observer and its tests."""
    _new("observer", name, directory)


def _new(kind: str, name: str, directory: Path | None) -> None:
    from echobench.plugin.manager import Plugins
    from echobench.plugin.scaffold import KINDS, new_plugin

    written = new_plugin(KINDS[kind], name, directory, Plugins())
    for path in written:
        say(f"wrote {path}", to=sys.stdout)
    folder = directory or written[0].parent
    say(f"next: pip install -e '{folder}[test]'; pytest {folder}", to=sys.stdout)
