"""What `--help` says, and docs/commands.md, which is made from it."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main
from typer.testing import CliRunner

from echobench.cli import app

DOCS = Path(__file__).parents[2] / "docs"


def leaves(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], typer.core.TyperCommand]]:
    if not isinstance(group, typer.core.TyperGroup):
        yield names, group
        return
    for name, command in group.commands.items():
        yield from leaves(command, *names, name)


COMMANDS = dict(leaves(typer.main.get_command(app)))


def words(text: str) -> str:
    """Return letters, digits and brackets alone: lines wrap anywhere, and are framed."""
    return re.sub(r"[^\w\[\]=]", "", text)


def test_the_page_of_commands_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "make_commands.py"))["page"]
    assert (DOCS / "commands.md").read_text() == page(), "run: make docs"


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_shows_every_text_in_80_columns(names: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert "<bool>" not in done.output
    command = COMMANDS[names]
    summary = (command.help or "").partition("\n")[0]
    assert summary.endswith(".")
    assert words(summary) in words(done.output)
    # A table of two or three columns: each cell's text is a run of lines in its column.
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        if text and parameter.name != "help":
            assert all(words(word) in words(done.output) for word in text.split()), text
            for bracketed in re.findall(r"\w+\[.*?\]", text):
                assert words(bracketed) in words(done.output)


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_does_and_its_default(names: tuple[str, ...]) -> None:
    options = 0
    for parameter in COMMANDS[names].params:
        if not isinstance(parameter, typer.core.TyperOption) or parameter.name == "help":
            continue
        options += 1
        text = parameter.help or ""
        assert re.match(r"[A-Z][a-z]+ .*[^.]$", text), (parameter.opts, text)
        known = parameter.required or parameter.is_flag or parameter.default is not None
        assert known or parameter.name == "plugin" or "(default: " in text, (parameter.opts, text)
        if parameter.multiple:
            assert "repeatable" in text, (parameter.opts, text)
    assert options


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"echobench {version('echobench')}\n")
    assert "--version" in CliRunner().invoke(app, ["--help"]).output
