"""`echobench check`: does a plugin keep the rules?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from echobench import interrupts
from echobench.cli.options import AsJson, PluginFiles
from echobench.text import say

if TYPE_CHECKING:
    from echobench.testing import CheckResult

app = typer.Typer(
    help="Check that a plugin keeps the rules; exit code 1 where it does not.",
    no_args_is_help=True,
)


@app.command()
def task(
    name: Annotated[str, typer.Argument(help="NAME or NAME[key=value,...].")],
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Draw its data here, train on the first; repeat; all."),
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check a task: its data, its network, its cost."""
    from echobench.testing import check_task

    with interrupts.comforted("nothing was kept"):
        found = check_task(name, backends=backend or [], plugins=plugin or [], say=_say)
    _conclude(found, as_json=as_json)


@app.command()
def backend(
    name: Annotated[str, typer.Argument(help="Which; `echobench list` names them.")],
    task: Annotated[
        list[str] | None,
        typer.Option(help="Parity of this task; repeat; all that take little time."),
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check a backend: its parts one by one, and the parity gate on the tasks."""
    from echobench.testing import check_backend

    with interrupts.comforted("nothing was kept"):
        found = check_backend(name, tasks=task or [], plugins=plugin or [], say=_say)
    _conclude(found, as_json=as_json)


def _say(text: str) -> None:
    say(f"{text} ...")


def _conclude(findings: Sequence[CheckResult], *, as_json: bool) -> None:
    """Print the findings; leave with exit code 1 where one failed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        print(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        styles = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
        shown = Table("check", "result", "found", header_style="bold")
        for finding in findings:
            advice = f"\nto do: {finding.advice}" if finding.advice else ""
            shown.add_row(
                finding.name,
                Text(finding.status, styles[finding.status]),
                Text(finding.found + advice),
            )
        Console().print(shown)
        skipped = sum(finding.status == "skipped" for finding in findings)
        passed = len(findings) - len(failed) - skipped
        print(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    if failed:
        raise typer.Exit(1)
