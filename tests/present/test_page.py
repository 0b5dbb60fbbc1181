"""`echobench report`: the content of the page, without a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echobench.analysis.frame import frame
from echobench.machine.calibration import assessed
from echobench.plugin.manager import Plugins
from echobench.present import page as pages
from echobench.present.page.cells import Best, best, groups
from echobench.present.page.data import Level, columns, kept, learning
from echobench.store.folder import Store
from echobench.trial.record import EvaluationPoint, Record
from echobench.trial.trial import FIRST_TUNING_SEED
from tests.benchmarks.made_up import fill
from tests.conftest import Command
from tests.records import EARLIER, RESULTS, reached, record

WITHOUT_JINJA2 = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jinja2" else found(name, *rest)
from echobench.cli import main
main()
"""


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def embedded(html: str) -> dict[str, Any]:
    """Return the data embedded in a page, by the element's id."""
    found = re.findall(r'<script type="text/plain" id="([\w-]+)">(.*?)</script>', html)
    return {name: unpacked(text) for name, text in found}


def restored(tree: Any, place: int) -> Any:
    """Invert `columns` as the page's script does, written from its docstring."""
    ((kind, value),) = tree.items()
    if kind == "same":
        return value
    if kind == "each":
        return value[place]
    if kind == "list":
        return [restored(one, place) for one in value]
    return {name: restored(one, place) for name, one in value.items()}


def test_the_command_writes_one_file(echobench: Command, tmp_path: Path) -> None:
    done = echobench("report", "--results", str(RESULTS / "open"), "--output", "a/b.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "wrote a/b.html\n")
    html = (tmp_path / "a" / "b.html").read_text()
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert "url(" not in html
    found = embedded(html)
    cells = found["data"]["cells"]
    assert sum(len(cell["keys"]) for cell in cells.values()) == 100
    true = {r.key: json.loads(assessed(r).to_json()) for r in Store.read(RESULTS / "open")}
    for cell, told in cells.items():
        for place, key in enumerate(told["keys"]):
            assert restored(found[f"records-{cell}"], place) == true[key]
    # The studies that are not there are named with what makes them.
    assert "echobench study size" in html


def test_a_share_above_the_limit_is_shown_empty_with_the_reason(
    echobench: Command, tmp_path: Path
) -> None:
    """A record of version 4 says 360%."""
    echobench("report", "--results", str(EARLIER / "closed"), "--output", "page.html")
    html = (tmp_path / "page.html").read_text()
    found = embedded(html)
    records = [
        restored(found[f"records-{cell}"], place)
        for cell, told in found["data"]["cells"].items()
        for place in range(len(told["keys"]))
    ]
    assert max(r["limit_fraction"] for r in records if r["limit_fraction"] is not None) <= 1
    (above,) = (r for r in records if r["limit_reason"])
    assert above["limit_fraction"] is None
    assert above["limit_reason"] == "3.60x the measured matrix rate"
    assert "above the measured matrix rate; disturbed: " in html
    assert "360%" not in html
    assert "3.6e+02%" not in html


def test_what_cannot_be_shown(echobench: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    full = str(RESULTS / "start")
    for arguments, expected in (
        (("--results", "nowhere"), "--results: expected a folder of records"),
        (("--results", "empty"), "make some with: echobench run"),
        (("--results", full, "-o", "file/report.html"), "--output file/report.html: expected a"),
    ):
        done = echobench("report", *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert expected in done.stderr


def test_without_jinja2_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JINJA2, "report"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "echobench: report: jinja2 not installed; run: pip install 'echobench[report]'\n"
    )


def cell(*seconds: float | None, spent: float | None = 100.0) -> pd.DataFrame:
    """Return trials of seeds 0, 1, ... that took so long; None for one that missed."""
    return frame(
        record(seed, status="missed", first_update_s=0.0, train_s=spent)
        if taken is None
        else reached(seed, taken)
        for seed, taken in enumerate(seconds)
    )


def test_a_winner_is_named_only_where_the_pairs_show_one() -> None:
    fast, slow = cell(1, 1.1, 0.9, 1, 1.05, 1), cell(2, 2.2, 1.8, 2, 2.1, 2)
    assert best({"slow": slow, "fast": fast}) == Best("fast", True, ", 2x faster than slow [2, 2]")
    unsure = cell(0.9, 1.3, 0.8, 1.2, 1, 1.1)
    found = best({"a": fast, "b": unsure})
    assert (found.name, found.shown) == ("a", False)
    assert found.text.startswith("no winner shown: b takes 1.")
    few = best({"a": cell(1, 1, 1), "b": cell(2, 2, 2)})
    assert (few.shown, few.few) == (False, True)
    # One that never arrived is a rival too: what it had spent is a bound.
    missed = best({"a": fast, "never": cell(*[None] * 6)})
    assert missed.shown
    assert "at least 100x" in missed.text or "at least 1" in missed.text
    # Stopped before the other had arrived, it says nothing.
    early = best({"a": fast, "early": cell(*[None] * 6, spent=0.1)})
    assert (early.shown, early.few) == (False, True)
    assert best({"a": cell(None, spent=None)}).name is None


def test_seeds_without_a_partner_make_no_winner_and_hide_none() -> None:
    # The first has the lower median, by seeds that the second lacks; its pairs are the slower.
    low, high = cell(*[2.0] * 6, *[0.1] * 7), cell(*[1.0] * 6)
    assert best({"low": low, "high": high}) == Best("high", True, ", 2x faster than low [2, 2]")
    # A third that the pairs do not tell from it leaves no winner.
    found = best({"low": low, "high": high, "like": cell(0.9, 1.3, 0.8, 1.2, 1, 1.1)})
    assert (found.name, found.shown) == ("low", False)
    assert found.text == "no winner shown: high takes 0.5x the time of low [0.5, 0.5]"


def trial(seed: int, accuracies: list[float], reached: bool) -> Record:
    points = [
        EvaluationPoint(epoch=10 * n, train_s=n * (1.0 + seed), loss=0, accuracy=a, exact_match=0)
        for n, a in enumerate(accuracies, start=1)
    ]
    epochs = 10 * len(points)
    status = "reached" if reached else "missed"
    return record(seed, status=status, evaluations=points, epochs=epochs, updates=3 * epochs)


def test_a_learning_curve_by_hand() -> None:
    trials = [trial(0, [0.5, 1.0], True), trial(1, [0.1, 0.2, 0.3], False)]
    # Two seeds: the median is the mean, a quartile half-way to it. The first keeps its 1.0.
    assert learning(trials, "updates") == [
        [30, 0.3, 0.2, 0.4],
        [60, 0.6, 0.4, 0.8],
        [90, 0.65, 0.475, 0.825],
    ]
    # At a moment, each has the accuracy of its last evaluation.
    assert learning(trials, "seconds")[0] == [2, 0.55, 0.325, 0.775]
    assert [point[0] for point in learning(trials, "seconds")] == [2, 4, 6]
    # Nobody knows how one that missed would have gone on.
    longer = [trial(0, [0.5, 0.6, 0.7, 1.0], True), trials[1]]
    assert learning(longer, "updates")[-1][0] == 90


def test_the_trials_of_a_search_are_no_results(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for seed in (0, FIRST_TUNING_SEED):
        store.append(record(seed))
    assert [found.seed for found in pages.read(store.folder)["."]] == [0]


def test_columns_hold_what_is_shared_once() -> None:
    values = [{"a": 1, "b": [1, {"c": n}], "d": "x" * n} for n in range(3)]
    tree = columns(values)
    assert tree["object"]["a"] == {"same": 1}
    assert [restored(tree, n) for n in range(3)] == values
    assert columns([1, True]) == {"each": [1, True]}


def test_a_level_thins_but_keeps_the_ends() -> None:
    full = json.loads(Store.read(RESULTS / "open")[0].to_json())
    thin = kept(full, Level(3, 4, 1))
    assert len(thin["evaluations"]) == 4
    assert [thin["evaluations"][n]["epoch"] for n in (0, -1)] == [
        full["evaluations"][n]["epoch"] for n in (0, -1)
    ]
    assert thin["wall_s"] == pytest.approx(full["wall_s"], rel=5e-3)
    assert (thin["key"], thin.keys()) == (full["key"], full.keys())


def test_many_trials_are_thinned_and_the_page_says_so(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "results", 300, files=1)
    monkeypatch.setattr(pages, "LARGEST", 400_000)
    pages.write(tmp_path / "results", tmp_path / "report.html", plugins)
    html = (tmp_path / "report.html").read_text()
    assert len(html.encode()) <= 400_000
    assert "each record here has" in html
    data = embedded(html)["data"]
    assert sum(len(cell["keys"]) for cell in data["cells"].values()) == 300


def test_divisions_machines_and_budgets_are_never_ranked_together() -> None:
    def cell(backend: str, budget: int = 10, cpu: str = "a", division: str = "open") -> Record:
        told = {"task": "t", "backend": backend, "division": division, "max_epochs": budget}
        return record(
            task="t",
            backend=backend,
            division=division,
            key=f"{backend}{budget}{cpu}{division}",
            trial=told,
            provenance={"machine": {"cpu": cpu, "cores": 1}},
        )

    records = [
        cell("x"), cell("y"), cell("x", budget=20), cell("x", cpu="b"), cell("y", division="closed")
    ]  # fmt: skip # one line reads better
    found = groups(records, frame(records))
    assert sorted(len(group.cells) for group in found) == [1, 1, 1, 2]
    (pair,) = (group for group in found if group.several)
    assert {cell.name for cell in pair.cells} == {"x fused", "y fused"}
    assert "max_epochs 10" in pair.settings
    other = next(g for g in found if g.division == "open" and g.machine.startswith("b"))
    assert (other.absent, [g.absent for g in found if "20" in g.settings]) == ([], [["y fused"]])
