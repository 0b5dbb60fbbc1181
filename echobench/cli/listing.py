"""`echobench list`: list the installed plugins, and why some cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from echobench.cli.options import AsJson, PluginFiles
from echobench.errors import PluginError
from echobench.output import make_console


def list_plugins(
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """List the installed plugins, and why some cannot be used."""
    from rich.table import Table

    from echobench.plugin.catalog import Provided
    from echobench.plugin.manager import Plugins
    from echobench.present.terminal import line_of

    plugins = Plugins(plugin or [])
    rows = []
    for name, task in sorted(plugins.tasks.items()):
        rows.append(("task", name, True, _summary(task.value), task.distribution))
    for name, backend in sorted(plugins.backends.items()):
        try:
            reason = backend.ask("why_unavailable", str | None)
            versions = backend.ask("versions", dict[str, str])
            trains = backend.ask("trains", bool)
        except PluginError as error:
            reason, versions, trains = str(error), {}, True
        about = ", ".join(f"{k} {v}" for k, v in versions.items())
        if not trains:
            about = f"only predicts; {about}"
        rows.append(("backend", name, reason is None, reason or about, backend.distribution))
    others: dict[str, Mapping[str, Provided[Any]]]
    others = {"executor": plugins.executors, "observer": plugins.observers}
    for kind, provided in others.items():
        for name, other in sorted(provided.items()):
            try:
                missing = other.why_missing()
            except PluginError as error:
                missing = str(error)
            about = missing or _summary(other.value)
            rows.append((kind, name, missing is None, about, other.distribution))
    for name, study in sorted(plugins.studies.items()):
        rows.append(("study", name, True, study.value.question, study.distribution))
    for broken in plugins.broken:
        rows.append(("broken plugin", broken.plugin, False, broken.reason, broken.distribution))
    columns = ("kind", "name", "usable", "about", "from")
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
        return
    table = Table(*columns, header_style="bold")
    for kind, name, usable, about, distribution in rows:
        row = (kind, name, "yes" if usable else "no", about, distribution)
        table.add_row(*map(line_of, row))
    make_console().print(table)


def _summary(documented: object) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
