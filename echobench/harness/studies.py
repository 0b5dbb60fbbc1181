"""From a study to trials, and from their records to its table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from echobench.analysis.table import summary
from echobench.errors import UsageError
from echobench.harness.asking import resolve
from echobench.harness.plan import Selection, plan
from echobench.plugin.failures import message_of
from echobench.plugin.interfaces import Study, Variant
from echobench.plugin.manager import Plugins
from echobench.trial.cell import Cell, StoredTrial
from echobench.trial.record import Record
from echobench.trial.selectors import division_of
from echobench.trial.trial import Trial

COLUMNS = (
    "backend", "division", "units", "success", "accuracy", "exact match", "epochs to target",
    "epochs", "updates to target", "time to target", "ms/update", "note",
)  # fmt: skip # one line reads better

PLACE = ("task", "parameters", "division", "recipe")
"""What a study's variant says of a trial."""
DISPENSABLE = (
    "ms/update", "epochs", "backend", "updates to target", "exact match", "division",
    "epochs to target",
)  # fmt: skip # one line reads better
"""Columns that a narrow terminal does without, the first to go first."""


def plan_study(study: Study, selection: Selection, plugins: Plugins) -> dict[str, list[Trial]]:
    """Return the trials of each variant, by its label.

    Args:
        study: what is asked.
        selection: backends, seeds, limits; its tasks and divisions are the study's.
        plugins: where tasks and backends come from, and the study, if it is a plugin's.

    Raises:
        UsageError: a variant names what is not or cannot be.
    """
    of_plugin = plugins.studies.get(study.name)
    for variant in study.variants:
        try:
            resolve(variant.task, variant.division, plugins)
        except UsageError as error:
            reason = f"variant {variant.label!r}: {message_of(error)}"
            raise (of_plugin.fault if of_plugin else UsageError)(reason) from error
    return {variant.label: _trials(variant, selection, plugins) for variant in study.variants}


def _trials(variant: Variant, selection: Selection, plugins: Plugins) -> list[Trial]:
    chosen = {"tasks": [variant.task], "divisions": [variant.division]}
    return plan(selection.model_copy(update=chosen), plugins)


def interleaved(trials: Iterable[Trial]) -> list[Trial]:
    """Return each trial once: seed by seed, those of a seed in seeded random order."""
    seeds: dict[int, list[Trial]] = defaultdict(list)
    for trial in {trial.key: trial for trial in trials}.values():
        seeds[trial.seed].append(trial)
    order: list[Trial] = []
    for seed, group in sorted(seeds.items()):
        order += [group[place] for place in np.random.default_rng(seed).permutation(len(group))]
    return order


def answers(planned: Mapping[str, list[Trial]], records: Iterable[Record]) -> list[dict[str, str]]:
    """Return the study's table: a row for each variant and backend.

    Args:
        planned: trials by the variant's label.
        records: of their cells, whatever the versions and threads; a trial
            without one has not run yet.
    """
    by_cell: dict[tuple[Cell, int], list[Record]] = {}
    for record in records:
        by_cell.setdefault(_asked(record.trial), []).append(record)
    rows = []
    for label, trials in planned.items():
        cells = [_asked(trial) for trial in trials]
        found = [record for cell in cells for record in by_cell.get(cell, [])]
        rows += [
            {"variant": label, **{column: line[column] for column in COLUMNS}}
            for line in summary(found)
        ]
    return rows


def measurements(
    study: Study, records: Iterable[Record], plugins: Plugins
) -> list[tuple[dict[str, int], Record]]:
    """Return the records of a study's variants, each with its places on the axes of size.

    Args:
        study: one with axes.
        records: of any backends; those of other variants are left out.
        plugins: where the study's tasks come from.

    Raises:
        UsageError: a variant names what is not or cannot be.
    """
    places: dict[Cell, dict[str, int]] = {}
    for variant in study.variants:
        _, task, recipe = resolve(variant.task, variant.division, plugins)
        cell = Cell.partly(
            task=task.name,
            parameters=task.parameters(),
            division=division_of(task, recipe, variant.division),
            recipe=recipe.model_dump(mode="json"),
        )
        places[cell] = variant.sizes
    found = [(record.cell.only(*PLACE), record) for record in records]
    return [(places[place], record) for place, record in found if place in places]


def _asked(trial: Trial | StoredTrial) -> tuple[Cell, int]:
    """Return what a study asks of a trial: not the versions, nor how many threads."""
    return Cell.of(trial).only(*PLACE, "backend", "engine"), trial.seed
