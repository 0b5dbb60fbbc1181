"""`echobench validate`: check records that come from elsewhere."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli.options import AsJson, PluginFiles, RecordPaths
from echobench.errors import UsageError


def validate(
    paths: RecordPaths,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="First move damaged lines to FILE.damaged"),
    ] = False,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check records: schema, arithmetic, recipes, duplicates, impossible values."""
    from echobench.plugin.manager import Plugins
    from echobench.store.reading import Complaints, record_files
    from echobench.store.referee import validate as check
    from echobench.text import plain

    for path in paths:
        if not path.exists():
            raise UsageError(f"validate: expected files or folders of records; received {path!s}")
    files = [file for path in paths for file in record_files(path, "**/*.jsonl")]
    files = list(dict.fromkeys(files))
    if not files:
        raise UsageError(f"validate: no records in {', '.join(map(str, paths))}")
    if repair:
        _repair(files)
    complaints = Complaints(say=lambda line: None)
    found, count = check(files, Plugins(plugin or []), complaints)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for one in found:
            print(plain(f"{one.where}: {one.severity}: {one.about}: {one.message}"))
    errors = sum(one.severity == "error" for one in found)
    print(*complaints.summary()[-1:], sep="\n", end="\n" * bool(complaints.counts), file=sys.stderr)
    print(f"{count} records, {errors} errors, {len(found) - errors} warnings", file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def _repair(files: list[Path]) -> None:
    """Set damaged lines aside, and say so."""
    from echobench.store.reading import KINDS
    from echobench.store.repair import repair
    from echobench.text import plain

    done = [one for one in map(repair, files) if one]
    for one in done:
        print(
            plain(
                f"{one.path}: {one.lines:,} {KINDS['damaged'][one.lines > 1]}, "
                f"{one.bytes:,} bytes, set aside in {one.aside.name}"
            ),
            file=sys.stderr,
        )
    if not done:
        print("nothing to repair", file=sys.stderr)
