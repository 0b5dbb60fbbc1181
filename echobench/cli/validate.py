"""`echobench validate`: check records that come from elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import AsJson, PluginFiles, RecordPaths, files_of, flag
from echobench.text import counted, plain, say


def validate(
    paths: RecordPaths,
    repair: Annotated[bool, flag("--repair", "First move damaged lines to FILE.damaged")] = False,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check records: the suite's rules, arithmetic, recipes, copies, renumbered seeds."""
    from echobench.plugin.manager import Plugins
    from echobench.store.reading import Complaints
    from echobench.store.referee import validate as check

    files = files_of("validate", paths)
    if repair:
        _repair(files)
    complaints = Complaints(say=lambda line: None)
    findings, count = check(files, Plugins(plugin or []), complaints)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            text = f"{finding.where}: {finding.severity}: {finding.about}: {finding.message}"
            also = f" (and {finding.more:,} records more of this file)" if finding.more else ""
            print(plain(text + also))
    errors = sum(finding.severity == "error" for finding in findings)
    say(*complaints.summary()[-1:])
    warnings = len(findings) - errors
    parts = (count, "record"), (errors, "error"), (warnings, "warning")
    say(", ".join(counted(number, noun) for number, noun in parts))
    if errors:
        raise typer.Exit(1)


def _repair(files: list[Path]) -> None:
    from echobench.store.reading import KINDS
    from echobench.store.repair import repair

    repairs = [done for done in map(repair, files) if done]
    for done in repairs:
        say(
            f"{done.path}: {done.lines:,} {KINDS['damaged'][done.lines > 1]}, "
            f"{done.bytes:,} bytes, set aside in {done.aside.name}"
        )
    if not repairs:
        say("nothing to repair")
