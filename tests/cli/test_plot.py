"""`echobench plot`, and the study of sizes, from made-up records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from echobench.harness.plan import Selection
from echobench.harness.studies import measurements, plan_study
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.record import Record
from tests.conftest import Command
from tests.records import record

BACKENDS = ["jax", "flax"]

WITHOUT_MATPLOTLIB = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "matplotlib" else found(name, *rest)
from echobench.cli import main
main()
"""


def made_up(plugins: Plugins) -> list[Record]:
    """Return a record of every variant: an update takes a microsecond a unit."""
    planned = plan_study(plugins.studies["size"].value, Selection(backends=BACKENDS), plugins)
    return [
        record(
            **{name: getattr(trial, name) for name in ("task", "backend", "engine", "division")},
            key=trial.key,
            status="missed",
            seconds_per_update=1e-6 * trial.recipe.units,
            trial=trial.model_dump(mode="json"),
        )
        for trials in planned.values()
        for trial in trials
    ]


def test_which_sizes_the_study_goes_through(plugins: Plugins) -> None:
    study = plugins.studies["size"].value
    planned = plan_study(study, Selection(backends=["jax"]), plugins)
    assert study.axes == list(study.base)
    base = planned["base"][0].recipe
    seen: dict[str, set[int]] = {axis: set() for axis in study.axes}
    for variant in study.variants:
        (trial,) = planned[variant.label]
        recipe, task = trial.recipe, plugins.tasks[trial.task].value(**trial.parameters)
        assert trial.division == "open"
        actual = {
            "units": recipe.units,
            "samples an update": recipe.batch * recipe.sequences,
            "integers a window": task.framing.inputs.shape[1],
        }
        assert actual == {**study.base, **variant.sizes}  # one at a time
        assert task.framing.samples == 1
        # The first two dispatches are not measured: enough is left.
        assert trial.max_epochs >= 10 * recipe.evaluate_every
        assert trial.max_epochs <= 10 * base.evaluate_every
        for axis, size in variant.sizes.items():
            seen[axis].add(size)
    assert seen["units"] == {20, 64, 128, 256, 512, 1024, 2048}
    assert {1, 4096} <= seen["samples an update"]
    assert {5, 512} <= seen["integers a window"]


def test_records_find_their_places(plugins: Plugins) -> None:
    study = plugins.studies["size"].value
    records = [*made_up(plugins), record()]  # one of another task's
    places = [sizes for sizes, _ in measurements(study, records, plugins)]
    assert places == [variant.sizes for variant in study.variants for _ in BACKENDS]


def test_a_plot_and_the_study_s_remarks(
    echobench: Command, plugins: Plugins, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results" / "studies" / "size")
    for one in made_up(plugins):
        store.append(one)
    done = echobench("plot", "size", "-o", "figure.svg")
    assert (done.returncode, done.stderr) == (0, "wrote figure.svg\n")
    svg = (tmp_path / "figure.svg").read_text()
    for text in (*BACKENDS, "units", "integers a window", "time of an update (ms)"):
        assert f">{text}<" in svg
    shown = echobench("study", "size", "--table", *(f"--backend={name}" for name in BACKENDS))
    assert shown.returncode == 0, shown.stderr
    said = " ".join(shown.stdout.split())
    assert "units: the time of an update grows: flax from 20 on, jax from 20 on" in said


def test_what_cannot_be_drawn(echobench: Command, tmp_path: Path) -> None:
    for arguments, expected in (
        (("sizes", "-o", "a.svg"), "unknown plot 'sizes'; did you mean 'size'?"),
        (("size", "-o", "a.gif"), "--output: expected a file that ends in .svg, .png or .pdf"),
        (("size", "-o", "a.svg"), "--results: expected a folder of records"),
        (("size", "-o", "a.svg", "--results", "."), "expected records of `echobench study size`"),
    ):
        done = echobench("plot", *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert expected in done.stderr
    assert not [*tmp_path.glob("a.*")]


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB, "plot", "size", "-o", "figure.svg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "echobench: plot: matplotlib not installed; run: pip install 'echobench[plot]'\n"
    )
