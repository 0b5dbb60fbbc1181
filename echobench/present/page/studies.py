"""The studies that are recorded beside the results: their tables, and cost against size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echobench.analysis.scaling import curves, remarks
from echobench.harness.plan import Selection
from echobench.harness.studies import answers, measurements, plan_study
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.record import Record, latest

ANY_SEED = 50
"""Seeds of a study that are looked for."""


@dataclass
class Answer:
    """A study with its records; none where it has not been run.

    Attributes:
        name: what `echobench study` takes.
        question: one sentence.
        rows: its table, by column; those without a trial left out.
        sizes: milliseconds of an update by axis, name and size.
        remarks: what the lines of sizes say.
        records: all that the folder holds, each trial's last.
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
        return [
            name for name in (self.rows[0] if self.rows else {}) if any(r[name] for r in self.rows)
        ]


def answered(folder: Path, plugins: Plugins) -> list[Answer]:
    """Return every installed study with what is recorded of it under `folder`/NAME."""
    return [_answer(name, folder / name, plugins) for name in sorted(plugins.studies)]


def _answer(name: str, folder: Path, plugins: Plugins) -> Answer:
    study = plugins.study(name).value
    records = latest(Store(folder).load())
    if not records:
        return Answer(name, study.question)
    known = [b for b in dict.fromkeys(r.backend for r in records) if b in plugins.backends]
    seeds = min(ANY_SEED, 1 + max(record.seed for record in records))
    planned = plan_study(study, Selection(backends=known or [study.backend], seeds=seeds), plugins)
    rows = answers(planned, records)
    drawn: dict[str, Any] = {}
    if study.axes:
        drawn = curves(measurements(study, records, plugins))
    return Answer(
        name,
        study.question,
        rows,
        {
            axis: {
                line: [[size, seconds * 1e3] for size, seconds in sizes.items()]
                for line, sizes in lines.items()
            }
            for axis, lines in drawn.items()
        },
        remarks(drawn),
        records,
    )
