"""The figures: their numbers against scipy and pandas on the committed records, and their files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from echobench.analysis import curves, footnotes, frame
from echobench.errors import UsageError
from echobench.present.figures import LineStyles, bars, lines, panels_of
from echobench.store.folder import Store
from echobench.trial.record import EvaluationPoint, Parity, Record
from tests.records import RESULTS, changed, missed, reached, record

SVG = "{http://www.w3.org/2000/svg}"
WRITERS: dict[str, Callable[..., None]] = {
    "learning": lines.write_learning,
    "survival": lines.write_survival,
    "updates": bars.write_updates,
    "phases": bars.write_phases,
    "break-even": lines.write_break_even,
}


@pytest.fixture(scope="module")
def matrix() -> list[Record]:
    return Store.read(RESULTS / "matrix")


def test_the_share_that_reached_it_is_scipy_s() -> None:
    draw = np.random.default_rng(0)
    hits, given_up = draw.uniform(1, 9, 12).round(1), draw.uniform(1, 9, 7).round(1)
    records = [reached(n, t) for n, t in enumerate(hits)]
    records += [missed(20 + n, t) for n, t in enumerate(given_up)]
    found = curves.arrival(frame.frame(records))
    expected = stats.ecdf(stats.CensoredData(hits, right=given_up)).cdf
    at = np.unique(hits)
    np.testing.assert_allclose(found.times, at)
    np.testing.assert_allclose(found.shares, expected.evaluate(at))
    np.testing.assert_allclose(found.censored, np.sort(given_up))


def test_who_never_arrives_keeps_the_share_below_one(tmp_path: Path) -> None:
    hits = [reached(seed, 1.0 + seed) for seed in range(3)]
    crash = changed(missed(9, 0.1), status="failed", reason="SIGSEGV")
    found = curves.arrival(frame.frame([*hits, crash]))
    assert (found.shares.tolist(), found.censored.tolist(), found.n) == ([0.25, 0.5, 0.75], [], 4)
    lines.write_survival(tmp_path / "a.svg", panels_of([*hits, crash]))
    assert "jax 3 of 4 seeds, half of them by 2.5 s" in (tmp_path / "a.svg").read_text()


def test_learning_is_the_quartiles_of_what_each_seed_had_last(matrix: list[Record]) -> None:
    seeds = panels_of(matrix)["whole (open)"]["jax fused"]
    found = curves.learning(seeds, "seconds")
    assert found is not None
    for place, time in enumerate(found.at):
        had = [[p.accuracy for p in r.evaluations if (p.train_s or 0) <= time] for r in seeds]
        expected = np.quantile([accuracies[-1] for accuracies in had], [0.25, 0.5, 0.75])
        drawn = [found.low[place], found.median[place], found.high[place]]
        np.testing.assert_allclose(drawn, expected)
    assert curves.learning([record()], "updates") is None


def test_updates_and_phases_are_pandas(matrix: list[Record]) -> None:
    flat = frame.frame(matrix)
    cell = flat.query(
        "task == 'partial' and backend == 'torch' and engine == 'fit' and division == 'open'"
    )
    seeds = panels_of(matrix)["partial (open)"]["torch fit"]
    milliseconds = cell.seconds_per_update * 1e3
    expected = (milliseconds.median(), milliseconds.min(), milliseconds.max())
    assert bars.span(seeds) == pytest.approx(expected)
    means = curves.phases(seeds)
    assert means is not None
    assert means["compile"] == pytest.approx(cell.compile_s.mean())
    assert sum(means.values()) == pytest.approx(cell.wall_s.mean(), rel=0.01)
    course = footnotes.course("it", [cell])
    assert course is not None
    assert course.compile_s == pytest.approx(cell.compile_s.median())


def test_no_two_cells_share_a_line_and_parity_counts() -> None:
    wrong = Parity(passed=False, reference="a", tolerance=1e-5, largest_difference=1.0)
    other = changed(reached(0, 1.0), trial={"versions": {"it": "2"}})
    panels = panels_of([reached(0, 1.0), reached(1, 2.0), other, record(5, parity=wrong)])
    counted = {name: len(records) for name, records in panels["partial (closed)"].items()}
    assert counted == {"jax (1)": 2, "jax (2)": 1}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_figure_names_every_cell_and_describes_itself_in_words(
    kind: str, matrix: list[Record], tmp_path: Path
) -> None:
    panels = panels_of([r for r in matrix if r.task == "whole"])
    paths = [tmp_path / "new" / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        WRITERS[kind](path, panels)
    assert paths[0].read_bytes() == paths[1].read_bytes()  # so it can be committed
    root = ET.fromstring(paths[0].read_text())
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"whole (open)", "whole (closed)", "torch fused", "jax fit"} <= texts
    title, words = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert title is not None
    assert title.text
    assert words is not None
    assert words.text is not None
    for name in ("whole (open)", "whole (closed)"):
        assert name in words.text
    # The words hold recorded figures.
    assert re.search(r"\d", words.text) or kind == "break-even"


def test_strange_names_are_text_in_every_kind(tmp_path: Path) -> None:
    strange = {"task": "<b>$x_$&\x1b", "backend": "a$_{b"}
    records = [changed(everything(), **strange, seed=seed) for seed in range(2)]
    for kind, write in WRITERS.items():
        path = tmp_path / f"{kind}.svg"
        write(path, panels_of(records))
        root = ET.fromstring(path.read_text())
        texts = {text.text for text in root.iter(f"{SVG}text")}
        assert "<b>$x_$&\\x1b (closed)" in texts
        assert root.find(f".//{SVG}b") is None


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_measured_is_one_line(kind: str, tmp_path: Path) -> None:
    panels = panels_of([record(status="unavailable", reason="not installed")])
    with pytest.raises(UsageError, match=r"^plot: expected records with .*; found none$"):
        WRITERS[kind](tmp_path / "a.png", panels)
    assert not [*tmp_path.iterdir()]


def everything() -> Record:
    """Return a record from which every kind has something to draw."""
    point = EvaluationPoint(epoch=1, train_s=1.0, loss=1.0, accuracy=0.5, exact_match=0.0)
    told = {"compile_s": 1.0, "seconds_per_update": 0.1, "wall_s": 4.0, "evaluations": [point]}
    return changed(reached(0, 2.0), **told, task="whole")


def test_names_look_different() -> None:
    styles = LineStyles(["a fit", "a fused", "b fit", "b fused"])
    assert len({tuple(styles(name).values()) for name in ("a fit", "a fused", "b fit")}) == 3
    assert styles("a fit")["color"] == styles("a fused")["color"] != styles("b fit")["color"]
