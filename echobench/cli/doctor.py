"""`echobench doctor`: check whether this machine is fit to measure on."""

from __future__ import annotations

import json
from dataclasses import asdict

from echobench.cli.options import AsJson
from echobench.output import make_console


def doctor(as_json: AsJson = False) -> None:
    """Check whether this machine is fit to measure on, and say what to change."""
    from rich import box
    from rich.table import Table

    from echobench.machine.doctor import WATCHED_S, examine
    from echobench.present.terminal import line_of

    with make_console(stderr=True).status(f"watching this machine for {WATCHED_S:g} s"):
        checks = examine()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in ("check", "verdict", "found", "what to do"):
        table.add_column(name, no_wrap=name in {"check", "verdict"})
    for check in checks:
        table.add_row(*map(line_of, (check.name, check.verdict, check.found, check.advice)))
    console = make_console()
    console.print(table)
    doubtful = [check.name for check in checks if check.verdict == "doubtful"]
    verdict = "fit to measure on" if not doubtful else f"measure with care: {', '.join(doubtful)}"
    console.print(line_of(verdict))
