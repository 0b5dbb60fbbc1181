"""`echobench check`: check that a plugin keeps the rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from echobench import interrupts
from echobench.cli.options import AsJson, PluginFiles, argument, option
from echobench.output import make_console
from echobench.text import say

if TYPE_CHECKING:
    from echobench.testing import CheckResult

app = typer.Typer(
    help="Check that a plugin keeps the rules; the exit code is 1 if not.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def task(
    name: Annotated[str, argument("NAME", "Task to check, NAME or NAME[key=value,...]")],
    backend: Annotated[
        list[str] | None,
        option(
            "NAME",
            "Backend to draw its data on; the first one also trains; repeatable "
            "(default: all that can be used)",
        ),
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check a task: its data, its network, its cost."""
    from echobench.testing import check_task

    with interrupts.on_interrupt_say("nothing was kept"):
        findings = check_task(name, backends=backend or [], plugins=plugin or [], say=_say)
    _print_findings(findings, as_json=as_json)


@app.command()
def backend(
    name: Annotated[str, argument("NAME", "Backend to check (see: `echobench list`)")],
    task: Annotated[
        list[str] | None,
        option("NAME", "Task for the parity gate; repeatable (default: all that take little time)"),
    ] = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check a backend: its parts one by one, and the parity gate on the tasks."""
    from echobench.testing import check_backend

    with interrupts.on_interrupt_say("nothing was kept"):
        findings = check_backend(name, tasks=task or [], plugins=plugin or [], say=_say)
    _print_findings(findings, as_json=as_json)


def _say(text: str) -> None:
    say(f"{text} ...")


def _print_findings(findings: Sequence[CheckResult], *, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        print(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        styles = {
            "passed": "green",
            "warning": "bold yellow",
            "failed": "bold red",
            "skipped": "yellow",
        }
        table = Table("check", "result", "found", header_style="bold")
        for finding in findings:
            advice = f"\nto do: {finding.advice}" if finding.advice else ""
            table.add_row(
                Text(finding.name),
                Text(finding.status, styles[finding.status]),
                Text(finding.found + advice),
            )
        make_console().print(table)
        counts = Counter(finding.status for finding in findings)
        warned = f"{counts['warning']} with a warning, " if counts["warning"] else ""
        print(
            f"{counts['passed']} passed, {warned}{counts['failed']} failed, "
            f"{counts['skipped']} skipped"
        )
    if failed:
        raise typer.Exit(1)
