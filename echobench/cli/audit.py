"""`echobench audit`: train recorded trials again."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from echobench.cli import options
from echobench.cli.options import PluginFiles, PrintFormat, RecordPaths, files_of, flag, option
from echobench.errors import UsageError
from echobench.text import say


def audit(
    paths: RecordPaths,
    sample: Annotated[
        int | None,
        option("N", "Audit N of these records, drawn at random (default: all)", "--sample"),
    ] = None,
    whole: Annotated[
        bool, flag("--whole", "Train to the end, not only up to the first evaluation")
    ] = False,
    key: Annotated[
        list[str] | None,
        option("KEY", "Audit only the trial with this key; repeatable (default: all)", "--key"),
    ] = None,
    task: options.Tasks = None,
    backend: options.Backends = None,
    engine: options.Engines = None,
    division: options.Divisions = None,
    status: options.Statuses = None,
    seed: options.Seeds = None,
    plugin: PluginFiles = None,
    form: PrintFormat = "table",
) -> None:
    """Train recorded trials again on the reference backend; say which come out otherwise."""
    from echobench.analysis import frame
    from echobench.harness.audit import audit as train_again
    from echobench.harness.audit import chosen
    from echobench.plugin.manager import Plugins
    from echobench.present.table import written
    from echobench.store.reading import Complaints, decoded, read_lines
    from echobench.trial.record import latest

    if sample is not None and sample < 1:
        raise UsageError(f"--sample: expected 1 or more; received {sample}")
    with Complaints() as complaints:
        files = files_of("audit", paths)
        records = latest([r for file in files for r in read_lines(file, decoded, complaints)])
    wanted = options.filters(
        task=task, backend=backend, engine=engine, division=division, status=status, seed=seed
    )
    kept = frame.only(frame.frame(records), wanted).index
    audited = []
    with tempfile.TemporaryDirectory(prefix="echobench-audit-") as folder:
        named = chosen([records[row] for row in kept], key or (), sample)
        for found in train_again(named, Plugins(plugin or []), Path(folder), say, whole=whole):
            audited.append(found.as_row())
            if form == "table":
                say(str(found), to=sys.stdout)
    if form != "table":
        print(written(audited, form))
    counts = Counter(row["verdict"] for row in audited)
    say(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    if counts["not reproduced"]:
        raise typer.Exit(1)
    if counts["not audited"] == len(audited):
        say("nothing was audited")
        raise typer.Exit(1)
