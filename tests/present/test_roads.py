"""One statement on the same records, by every road that makes it: they agree, and are numpy's."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from echobench.analysis import frame, table
from echobench.analysis.footnotes import footnotes
from echobench.analysis.leaderboard import ranked, row_of
from echobench.analysis.pairs import Decision, judge, pair, settled
from echobench.analysis.statistics import times
from echobench.harness.adaptive import contests
from echobench.plugin.manager import Plugins
from echobench.present import page
from echobench.present.page.cells import GroupView
from echobench.present.sentences import verdicts
from echobench.store.folder import Store
from echobench.trial.record import Record, latest
from tests.conftest import Command
from tests.records import EARLIER, RESULTS, changed, reached

ROOT = Path(__file__).parents[2]
TASKS = ("partial", "whole")


class Said(NamedTuple):
    """Who is faster, than whom, how many times, within which interval."""

    first: str
    second: str
    times: str
    interval: str


def groups_of(folder: Path, plugins: Plugins) -> dict[tuple[str, str], GroupView]:
    """Return the groups of a page of a folder, by task and what tells them apart."""
    made = page._page(folder, page.read(folder), [], plugins)
    return {(group.task, group.settings): group for group in made.groups if group.several}


def by_sentence(text: str, task: str) -> Said:
    (found,) = re.findall(
        rf"(\S+)(?: fused)? reached certified 100% on {task} \(open\) (\S+)x sooner than (\S+)"
        r"(?: fused)? (\[.*?\])",
        " ".join(text.split()),
    )
    first, ratio, second, interval = found
    return Said(first, second, ratio, interval)


def by_page(group: GroupView) -> Said:
    name, rest = group.answers["Training time to certified 100%"]
    found = re.fullmatch(r", (\S+)x faster than (\S+) fused (\[.*\])", rest)
    assert found is not None
    return Said(name.removesuffix(" fused"), found[2], found[1], found[3])


def by_leaderboard(records: list[Record], task: str) -> Said:
    cells: dict[object, list[Record]] = {}
    for record in records:
        if record.task == task:
            cells.setdefault(record.cell, []).append(record)
    first, *others = ranked([row_of(rows, rows[0].cell) for rows in cells.values()])
    # Against the row of the lowest median, of which the second lowest is the nearest.
    second = min(others, key=lambda one: one.row.target.value or np.inf)
    assert second.against is not None
    value, interval = second.against.ratio.value, second.against.ratio.interval
    return Said(first.row.backend, second.row.backend, times(value or 0.0), interval)


def by_compare(forked: Command, folder: Path, task: str, first: str, second: str) -> Said:
    (ours, theirs) = (f"{folder}[task={task},backend={name}]" for name in (first, second))
    done = forked("compare", ours, theirs, "--metric", "time_to_target_s", "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    found = re.fullmatch(r"A (\S+)x faster (\[.*\])", row["verdict"])
    assert found is not None
    assert times(row["ratio"]) == found[1]
    return Said(first, second, found[1], found[2])


@pytest.mark.parametrize(
    ("folder", "task"),
    [(RESULTS / "open", "whole"), *((EARLIER / "open", task) for task in TASKS)],
)
def test_all_roads_say_the_same_of_records(
    folder: Path, task: str, forked: Command, plugins: Plugins
) -> None:
    records = latest(Store.read(folder))
    (sentence,) = (
        line for line in verdicts(table.grouped(records)) if f" on {task} (open) " in line
    )
    said = by_sentence(sentence, task)
    seconds: dict[str, dict[int, float]] = {said.first: {}, said.second: {}}
    for record in records:
        if record.task == task and record.backend in seconds:
            seconds[record.backend][record.seed] = record.time_to_target_s or np.nan
    ratio = [seconds[said.second][s] / taken for s, taken in seconds[said.first].items()]
    assert said.times == f"{np.median(ratio):.3g}"

    if folder == RESULTS / "open":
        assert by_sentence((ROOT / "README.md").read_text(), task) == said
        assert by_sentence((RESULTS / "README.md").read_text(), task) == said
    assert by_compare(forked, folder, task, said.first, said.second) == said
    assert by_leaderboard(records, task) == said
    by_place = groups_of(folder, plugins)
    (group,) = (group for (name, _), group in by_place.items() if name == task)
    assert by_page(group) == said
    if folder == RESULTS / "open":
        # The page of all folders shows each folder as its table does.
        everywhere = groups_of(RESULTS, plugins).items()
        (group,) = (g for (name, place), g in everywhere if name == task and "r open" in place)
        assert by_page(group) == said

    (notes,) = (
        [line.partition(": ")[2] for line in footnotes(records) if line.startswith(f"{task} open")],
    )
    first, agree = notes
    assert group.answers["By number of updates, compiling counted"] == ("", first)
    assert group.answers["What they need to learn"] == ("", agree)

    cells = {(r.task, r.backend): [o for o in records if o.cell == r.cell] for r in records}
    ours, theirs = (frame.frame(cells[task, name]) for name in (said.first, said.second))
    pairs = pair(ours, theirs)
    assert judge(pairs).ratio.interval == said.interval
    of_auto = {
        (contest.first, contest.second): contest.decision
        for contest in contests(records, 12)
        if contest.task.startswith(f"{task} ")
    }
    assert len(of_auto) == math.comb(len({backend for _, backend in cells}), 2)
    for (one, other), decision in of_auto.items():
        expected = {
            (f"{said.first} fused", f"{said.second} fused"): Decision.FIRST,
            (f"{said.second} fused", f"{said.first} fused"): Decision.SECOND,
        }.get((one, other))
        if expected is not None:
            assert decision in (expected, None)  # ten seeds of twelve pairs of cells may be too few
    assert settled(pairs) in (Decision.FIRST, None)  # a look takes a surer interval


def test_of_several_repeats_all_roads_take_every_one(
    forked: Command, plugins: Plugins, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    store = Store(tmp_path / "results")
    made: dict[str, list[float]] = {"jax": [], "torch": []}
    records = []
    for seed in range(4):
        for repeat in range(3):
            for backend, slower in (("jax", 1.0), ("torch", 1.3)):
                seconds = float(slower * np.exp(rng.normal(0, 0.05)))
                made[backend].append(seconds)
                key = f"{backend}-{seed}-{repeat}"
                one = changed(
                    reached(seed, seconds), backend=backend, key=key, division="open",
                    trial={"repeat": repeat},
                )  # fmt: skip # one line reads better
                records.append(one)
                store.append(one)
    ratio = np.median(np.array(made["torch"]) / made["jax"])
    (sentence,) = verdicts(table.grouped(records))
    said = by_sentence(sentence, "partial")
    assert said[:3] == ("jax", "torch", f"{ratio:.3g}")
    assert by_compare(forked, store.folder, "partial", "jax", "torch") == said
    assert by_leaderboard(records, "partial") == said
    ((_, group),) = groups_of(store.folder, plugins).items()
    assert by_page(group) == said
    (contest,) = contests(records)
    assert (contest.first, contest.decision, contest.pairs) == ("jax fused", Decision.FIRST, 12)


def test_a_trial_that_two_folders_have_counts_in_each(tmp_path: Path, plugins: Plugins) -> None:
    for folder, factor in (("a", 2.0), ("b", 3.0)):
        store = Store(tmp_path / "results" / folder)
        for seed in range(6):
            for backend, slower in (("jax", 1.0), ("torch", factor)):
                one = changed(reached(seed, slower * (1 + seed)), key=f"{backend}-{seed}")
                store.append(changed(one, backend=backend, division="open"))
    found = groups_of(tmp_path / "results", plugins)
    assert {place: by_page(group).times for (_, place), group in found.items()} == {
        "folder a": "2",
        "folder b": "3",
    }
    ids = [cell.id for group in found.values() for cell in group.cells]
    assert len(set(ids)) == 4
