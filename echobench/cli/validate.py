"""`echobench validate`: the referee for results that come from elsewhere."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import AsJson, PluginFiles
from echobench.errors import UsageError
from echobench.results.plain import say


def validate(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of records, or folders, with all in them.")
    ],
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check records: schema, arithmetic, division, duplicates, impossible values."""
    from echobench.plugins import Plugins
    from echobench.results.referee import validate as check
    from echobench.results.store import record_files

    for path in paths:
        if not path.exists():
            raise UsageError(f"validate: expected files or folders of records; received {path!s}")
    files = [file for path in paths for file in record_files(path, "**/*.jsonl")]
    if not files:
        raise UsageError(f"validate: no records in {', '.join(map(str, paths))}")
    found, count = check(files, Plugins(plugin or []))
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        lines = (f"{one.where}: {one.severity}: {one.about}: {one.message}" for one in found)
        say(*lines, to=sys.stdout)
    errors = sum(one.severity == "error" for one in found)
    say(f"{count} records, {errors} errors, {len(found) - errors} warnings")
    if errors:
        raise typer.Exit(1)
