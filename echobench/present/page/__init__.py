"""All recorded trials and studies in one HTML file that works offline.

Here records are read and the page is written; `cells.py` groups them into what may be compared,
`data.py` holds what the script reads. The page itself is `template.html`, `base.css`,
`style.css`, `charts.js` and `page.js`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echobench.analysis.curves import PHASES
from echobench.analysis.footnotes import chosen
from echobench.analysis.frame import disturbed, frame, sorted_out_frame
from echobench.analysis.scaling import curves, measured, remarks
from echobench.core.versions import module_version
from echobench.errors import UsageError
from echobench.harness.plan import Selection
from echobench.harness.studies import answers, measurements, plan_study
from echobench.machine.calibration import assessed
from echobench.machine.privacy import redact
from echobench.plugin.manager import Plugins
from echobench.present import writing
from echobench.present.page import data
from echobench.present.page.cells import CellView, GroupView, groups
from echobench.store.folder import Store, smoke_runs_only
from echobench.store.reading import Complaints, decoded, read_lines, record_files
from echobench.text import finalize_for_page
from echobench.trial.record import Machine, Record, latest
from echobench.trial.trial import FIRST_TUNING_SEED

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST = 5_800_000
"""Bytes of a page, at most: records are thinned (`data.LEVELS`) until it fits."""
APART = {"quick", "studies"}
"""Folders whose records stay out of the overview."""
MOST_SEEDS = 50
"""Seeds of a study that are looked for, at most."""
PACKAGE = files(__name__)


@dataclass
class StudyView:
    """A study with its records; none if it has not been run.

    Attributes:
        rows: its table, by column; rows without a trial left out.
        sizes: points [size, milliseconds of an update] by axis and line.
        remarks: sentences on the lines of sizes.
        records: the latest of each trial.
    """

    name: str
    question: str
    rows: list[dict[str, str]] = field(default_factory=list)
    sizes: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Return the columns that are not empty."""
        first = self.rows[0] if self.rows else {}
        return [name for name in first if any(row[name] for row in self.rows)]


@dataclass
class Page:
    """The values of the template."""

    folder: str
    made: str
    version: str
    groups: list[GroupView]
    studies: list[StudyView]
    study_groups: list[GroupView]
    machines: list[dict[str, Any]]
    remarks: list[str]

    @property
    def cells(self) -> list[CellView]:
        """Return all cells, including those of studies; a cell in both once."""
        both = [*self.groups, *self.study_groups]
        return list({cell.id: cell for group in both for cell in group.cells}.values())

    @property
    def trials(self) -> int:
        """Return the number of trials in the overview."""
        return sum(len(cell.records) for group in self.groups for cell in group.cells)


def read(folder: Path) -> dict[str, list[Record]]:
    """Return the training records in a folder and its subfolders, by subfolder, oldest file first.

    Quick records and studies are left out, unless the folder itself is theirs; so are the
    trials of a search, which are not results.
    """
    found: dict[str, list[Record]] = defaultdict(list)
    with Complaints() as complain:
        for file in record_files(folder, deep=True):
            place = file.relative_to(folder)
            if not APART & set(place.parts):
                records = read_lines(file, decoded, complain)
                found[place.parent.as_posix()] += [
                    assessed(record) for record in records if record.seed < FIRST_TUNING_SEED
                ]
    return found


def write(folder: Path, output: Path, plugins: Plugins) -> None:
    """Write the page of a folder of records, whose subfolder `studies` holds the studies."""
    everything = read(folder)
    names = sorted(plugins.studies)
    studies = [_study(name, folder / "studies" / name, plugins) for name in names]
    if not any(everything.values()) and not any(study.records for study in studies):
        if smoke := smoke_runs_only(folder):
            raise UsageError(f"report: {smoke}")
        raise UsageError(
            f"--results {folder}: expected records; found none; make some with: echobench run"
        )
    text = rendered(_page(folder, everything, studies, plugins))
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")


def _page(
    folder: Path,
    everything: Mapping[str, Sequence[Record]],
    studies: list[StudyView],
    plugins: Plugins,
) -> Page:
    # A trial that two folders have counts in each, as `echobench table` of each shows it.
    by_folder = {name: latest(list(some)) for name, some in everything.items()}
    records = [record for some in by_folder.values() for record in some]
    folders = [name for name, some in by_folder.items() for _ in some]
    flat, moved = sorted_out_frame(frame(records), plugins)
    of_studies = [record for study in studies for record in study.records]
    study_flat, _ = sorted_out_frame(frame(of_studies), plugins)
    return Page(
        folder=redact(str(folder)),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=module_version("echobench"),
        groups=groups(records, flat, folders),
        studies=studies,
        study_groups=groups(of_studies, study_flat),
        machines=_machines([*records, *of_studies], [*disturbed(flat), *disturbed(study_flat)]),
        remarks=[*_chosen(everything), *moved],
    )


def _chosen(everything: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return which trials of each folder were run again, and which seeds are missing."""
    return [
        line if len(everything) == 1 else f"{name}: {line}"
        for name, records in everything.items()
        for line in chosen(frame(records))
    ]


def _study(name: str, folder: Path, plugins: Plugins) -> StudyView:
    study = plugins.studies[name].value
    records = [*map(assessed, latest(Store(folder).load()))]
    if not records:
        return StudyView(name, study.question)
    known = [b for b in dict.fromkeys(r.backend for r in records) if b in plugins.backends]
    seeds = min(MOST_SEEDS, 1 + max(record.seed for record in records))
    planned = plan_study(study, Selection(backends=known or [study.backend], seeds=seeds), plugins)
    axes = measured(measurements(study, records, plugins)) if study.axes else {}
    sizes = {
        axis: {
            line: [[size, seconds * 1e3] for size, seconds in points.items()]
            for line, points in lines.items()
        }
        for axis, lines in curves(axes).items()
    }
    rows = answers(planned, records)
    return StudyView(name, study.question, rows, sizes, remarks(axes), records)


def _machines(records: Sequence[Record], noisy: Sequence[bool]) -> list[dict[str, Any]]:
    """Return the facts of each machine class that records name.

    `noisy` says of each record whether its trial was disturbed.
    """
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record, was_disturbed in zip(records, noisy, strict=True):
        provenance = record.provenance
        machine = provenance.machine or Machine()
        facts = seen[machine.kind]
        commit = provenance.git.commit if provenance.git else None
        for fact, value in {
            "system": machine.system,
            "Python": machine.python,
            "memory": f"{machine.memory_bytes / 2**30:.0f} GiB"
            if machine.memory_bytes is not None
            else None,
            "commit of echobench": commit[:12] if commit else None,
            "command": " ".join(provenance.command or []) or None,
        }.items():
            if value is not None:
                facts[fact].add(str(value))
        for package, version in (provenance.versions or {}).items():
            facts["versions"].add(f"{package} {version}")
        facts["disturbed trials"].update([record.key] if was_disturbed else [])
        facts["trials"].add(f"{record.key} {record.started_at}")
    counted = {"disturbed trials", "trials"}
    return [
        {"name": name}
        | {f: [f"{len(v):,}"] if f in counted else sorted(v) for f, v in facts.items()}
        for name, facts in seen.items()
    ]


def templates(package: str) -> Environment:
    """Return the templates of a package, which escape every value."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        finalize=finalize_for_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def rendered(page: Page) -> str:
    """Return the page as HTML, its records thinned until it is small enough."""
    template = templates(__name__).get_template("template.html")
    style = _source("base.css") + _source("style.css")
    script = _source("charts.js") + _source("page.js")
    values = {
        "page": page,
        "style": style,
        "script": script,
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "data": data.packed(_script_data(page)),
    }
    text = ""
    for level in data.LEVELS:
        text = template.render(values, level=level.note, packed=_packed(page.cells, level))
        if len(text.encode()) <= LARGEST:
            break
    return text


def _packed(cells: Sequence[CellView], level: data.Level) -> dict[str, str]:
    return {
        cell.id: data.packed(data.columns([data.kept(r.to_dict(), level) for r in cell.records]))
        for cell in cells
    }


def _keys(cells: Sequence[CellView]) -> dict[str, list[str]]:
    """Return the trials' keys by cell; a key that occurs again (another machine) gets a number."""
    times: dict[str, int] = defaultdict(int)
    keys: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for record in cell.records:
            times[record.key] += 1
            count = times[record.key]
            keys[cell.id].append(record.key if count == 1 else f"{record.key}~{count}")
    return keys


def _script_data(page: Page) -> dict[str, Any]:
    keys = _keys(page.cells)
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


def _first(groups: Sequence[GroupView]) -> str | None:
    """Return the group whose charts are shown first: with a winner if possible, with most cells."""
    if not groups:
        return None
    reached = {g.id: any(c.numbers["time to target"] for c in g.cells) for g in groups}
    return max(groups, key=lambda g: (g.decided, reached[g.id], len(g.cells))).id


def _source(name: str) -> str:
    return (PACKAGE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the digest by which the page's Content-Security-Policy allows an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
