"""The file itself: records read, the skeleton filled, everything inside."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from echobench.analysis.curves import PHASES
from echobench.analysis.divisions import sorted_out_frame
from echobench.analysis.footnotes import chosen, footnotes
from echobench.analysis.frame import frame
from echobench.errors import UsageError
from echobench.machine.privacy import redact
from echobench.plugin.manager import Plugins
from echobench.present.page import packing
from echobench.present.page.cells import Cell, Group, groups
from echobench.present.page.studies import Answer, answered
from echobench.store.decoding import decoded
from echobench.store.reading import Complaints, read_lines, record_files
from echobench.text import finalize_for_page
from echobench.trial.record import Record, latest, machine_class
from echobench.trial.trial import FIRST_TUNING_SEED

LARGEST = 5_800_000
"""Bytes that a page may have: beyond, records are thinned (`packing.LEVELS`)."""
APART = {"quick", "studies"}
"""Folders of results that are no results of this table."""
PACKAGE = files("echobench.present.page")


@dataclass
class Page:
    """What the template shows."""

    folder: str
    made: str
    version: str
    groups: list[Group]
    studies: list[Answer]
    study_groups: list[Group]
    machines: list[dict[str, Any]]
    remarks: list[str]

    @property
    def cells(self) -> list[Cell]:
        """Return all cells, those of studies too; one that is in both, once."""
        both = [*self.groups, *self.study_groups]
        return list({cell.id: cell for group in both for cell in group.cells}.values())

    @property
    def trials(self) -> int:
        """Return how many trials the overview is of."""
        return sum(len(cell.records) for group in self.groups for cell in group.cells)


def read(folder: Path) -> list[Record]:
    """Return the records of training in a folder and in those below it, oldest file first.

    Quick records and studies are not among them, unless the folder is theirs; nor are the
    trials of a search, whose figures are no results.
    """
    found = [
        file
        for file in record_files(folder, "**/*.jsonl")
        if not APART & set(file.relative_to(folder).parts)
    ]
    with Complaints() as complain:
        records = (record for file in found for record in read_lines(file, decoded, complain))
        return [record for record in records if record.seed < FIRST_TUNING_SEED]


def write(folder: Path, output: Path, plugins: Plugins) -> None:
    """Write the page of a folder of records.

    Args:
        folder: where they are; studies in its folder `studies`.
        output: the file.
        plugins: tasks, whose closed recipes count, and studies.

    Raises:
        UsageError: there are no records, or the file cannot be written.
    """
    everything = read(folder)
    studies = answered(folder / "studies", plugins)
    if not everything and not any(study.records for study in studies):
        raise UsageError(
            f"--results {folder}: expected records; found none; make some with: echobench run"
        )
    text = rendered(_page(folder, everything, studies, plugins))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--output {output}: expected a file that can be written; {error.strerror}"
        ) from error


def _page(
    folder: Path, everything: Sequence[Record], studies: list[Answer], plugins: Plugins
) -> Page:
    records = latest(list(everything))
    flat, moved = sorted_out_frame(frame(records), plugins)
    of_studies = [record for study in studies for record in study.records]
    study_flat, _ = sorted_out_frame(frame(of_studies), plugins)
    agreement = [line for line in footnotes(flat) if "log-rank" in line]
    return Page(
        folder=redact(str(folder)),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=importlib.metadata.version("echobench"),
        groups=groups(records, flat),
        studies=studies,
        study_groups=groups(of_studies, study_flat),
        machines=_machines([*records, *of_studies]),
        remarks=[*agreement, *chosen(frame(everything)), *moved],
    )


def _machines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what records say of the machines they were made on, one entry a class."""
    found: dict[str, dict[str, Any]] = {}
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        told = record.provenance
        machine = told.get("machine") or {}
        name = machine_class(machine)
        found.setdefault(name, {"name": name})
        commit = (told.get("git") or {}).get("commit")
        for fact, value in {
            "system": machine.get("system"),
            "Python": machine.get("python"),
            "memory": f"{machine['memory_bytes'] / 2**30:.0f} GiB"
            if isinstance(machine.get("memory_bytes"), int)
            else None,
            "commit of echobench": str(commit)[:12] if commit else None,
            "command": " ".join(map(str, told.get("command") or [])) or None,
        }.items():
            if value is not None:
                seen[name][fact].add(str(value))
        for package, version in (told.get("versions") or {}).items():
            seen[name]["versions"].add(f"{package} {version}")
        seen[name]["disturbed trials"].update([record.key] if record.disturbances else [])
        seen[name]["trials"].add(f"{record.key} {record.started_at}")
    for name, facts in seen.items():
        for fact, values in facts.items():
            counts = fact in {"disturbed trials", "trials"}
            found[name][fact] = [f"{len(values):,}"] if counts else sorted(values)
    return list(found.values())


def rendered(page: Page) -> str:
    """Return the page as HTML, its records thinned as far as its size asks for."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        finalize=finalize_for_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string(_source("template.html"))
    style = _source("base.css") + _source("style.css")
    script = _source("charts.js") + _source("page.js")
    keys = _keys(page.cells)
    told = {
        "page": page,
        "style": style,
        "script": script,
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "data": packing.packed(_data(page, keys)),
    }
    text = ""
    for level in packing.LEVELS:
        text = template.render(told, level=level.told, packed=_packed(page.cells, level))
        if len(text.encode()) <= LARGEST:
            break
    return text


def _packed(cells: Sequence[Cell], level: packing.Level) -> dict[str, str]:
    return {
        cell.id: packing.packed(
            packing.columns([packing.kept(packing.builtins(r), level) for r in cell.records])
        )
        for cell in cells
    }


def _keys(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Return the trials' keys by cell; one that occurs again (another machine) has a number."""
    times: dict[str, int] = defaultdict(int)
    found: dict[str, list[str]] = {}
    for cell in cells:
        found[cell.id] = []
        for record in cell.records:
            times[record.key] += 1
            again = times[record.key]
            found[cell.id].append(record.key if again == 1 else f"{record.key}~{again}")
    return found


def _data(page: Page, keys: dict[str, list[str]]) -> dict[str, Any]:
    """Return what the script draws."""
    return {
        "phases": list(PHASES),
        "cells": {
            cell.id: {"name": cell.name, "about": cell.about, "keys": keys[cell.id], **cell.drawn}
            for cell in page.cells
        },
        "groups": [
            {"id": group.id, "cells": [cell.id for cell in group.cells], "lines": group.lines}
            for group in page.groups
        ],
        "first": _first(page.groups),
        "sizes": {study.name: study.sizes for study in page.studies if study.sizes},
    }


def _first(groups: Sequence[Group]) -> str | None:
    """Return the group whose charts are shown first: one that shows a winner, with most cells."""
    if not groups:
        return None
    reached = {g.id: any(c.numbers["time to target"] for c in g.cells) for g in groups}
    return max(groups, key=lambda g: (g.decided, reached[g.id], len(g.cells))).id


def _source(name: str) -> str:
    return (PACKAGE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return what the page's policy knows an element of its own by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
