"""Write docs/commands.md, the reference of the command line, from the command line itself.

`make docs` runs this; tests/test_commands.py checks that the page is up to date.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import typer
import typer.main
from typer.cli import get_docs_for_click

from echobench.cli import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

All verbs, with all options and their defaults. `make docs` makes this page from the command
line's own `--help`. The [README](../README.md) shows the usual ones at work,
[usage.md](usage.md) says what each is for.

Exit codes: 0 success (a missed target is a result), 1 a trial failed or could not be recorded, or
output could not be written, 2 wrong usage, 3 a regression found by `compare --fail-if`, 4 one that
it cannot decide, 130 interrupted. A reader that stops reading (`| head`) and a closed stream
(`>&-`) change none.
"""


def page() -> str:
    """Return the page: the verbs by purpose, then the options of each."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="echobench")
    assert isinstance(group, typer.core.TyperGroup)
    purposes: dict[str, list[str]] = {}
    sections = []
    for name, command in group.commands.items():
        summary = (command.help or "").partition("\n")[0]
        link = f"- [`{name}`](#echobench-{name}): {summary}"
        purposes.setdefault(str(command.rich_help_panel), []).append(link)
        text = get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="echobench")
        sections.append(html.unescape(text).strip())
    overview = [f"**{purpose}**\n\n" + "\n".join(lines) for purpose, lines in purposes.items()]
    text = "\n\n".join([HEAD.strip(), *overview, *sections]) + "\n"
    return re.sub(r"```console\n\$ ", "```\n", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
