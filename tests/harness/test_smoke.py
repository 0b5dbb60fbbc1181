"""Smoke runs: the cells of a backend in one process, of which none takes the others with it."""

from __future__ import annotations

import pytest

from echobench.analysis.table import grouped
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import MOST_SMOKE, by_backend
from echobench.plugin.manager import Plugins
from echobench.present.table import SMOKE, legend
from echobench.store.folder import Store
from echobench.trial.job import JobOptions
from echobench.trial.record import Record
from tests.soak.harness import PLUGIN

MOODY = """
import os, sys
from echobench import UnsupportedError, hookimpl
sys.path.insert(0, {folder!r})
from quick import Knowing

class Moody(Knowing):
    name = "moody"

    def smoke_environment(self):
        return {{"MOODY": "smoke", "TZ": "Mars"}}

    def facts(self):
        return {{name: os.environ.get(name, "none") for name in ("MOODY", "TZ")}}

    def trainer(self, program, chunk):
        task = program.task
        if task.busy == 0.25:
            raise ValueError("it raised")
        if task.busy == 0.5:
            os._exit(3)
        if task.busy == 0.75:
            raise UnsupportedError("it is not made for this")
        return super().trainer(program, chunk)

@hookimpl
def echobench_backends():
    return [Moody()]
"""
TASKS = ["tiny", "tiny[busy=0.25]", "tiny[busy=0.5]", "tiny[busy=0.75]", "tiny[nap=0.001]"]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("smoke")
    (folder / "moody.py").write_text(MOODY.format(folder=str(PLUGIN.parent)))
    plugins = Plugins([folder / "moody.py", PLUGIN])
    selection = Selection(
        tasks=TASKS, backends=["moody"], threads=1, seeds=2, quick=True,
        environment={"TZ": "UTC"},
    )  # fmt: skip # in three lines it reads better
    store = Store(folder, quick=True)
    matrix = Matrix(plugins, store, JobOptions(smoke=True), gate=False)
    return [*matrix.run(plan(selection, plugins), Watcher())]


def test_each_cell_of_a_process_has_its_own_end(records: list[Record]) -> None:
    ends = {(record.trial.label, record.seed): record for record in records}
    assert len(ends) == len(TASKS) * 2
    for seed in (0, 1):
        for label in ("tiny", "tiny[nap=0.001]"):
            assert ends[label, seed].status == "reached", ends[label, seed].reason
        raised, unsupported = ends["tiny[busy=0.25]", seed], ends["tiny[busy=0.75]", seed]
        assert raised.status == "failed"
        assert "ValueError: it raised" in (raised.reason or "")
        assert unsupported.status == "unsupported"
        assert unsupported.reason == "it is not made for this"
        crashed = ends["tiny[busy=0.5]", seed]
        assert crashed.status == "failed"
        assert "exit code 3" in (crashed.reason or "")
    processes = {
        record.provenance.process.id for record in records if record.provenance.process is not None
    }
    assert len(processes) <= 3  # a crash costs one, and no other trial


def test_nothing_is_measured(records: list[Record]) -> None:
    for record in records:
        if record.status != "reached":
            continue
        assert record.provenance.calibration == {"before": None, "after": None}
        assert (record.clock_share, record.limit_fraction) == (None, None)
        assert record.contradiction is None
        # What a user sets goes before what the backend does.
        ran = record.execution
        assert (ran["MOODY"], ran["TZ"]) == ("smoke", "UTC")
    groups = grouped(records)
    assert not any(group.best for group in groups)
    assert legend(groups) == [SMOKE]


def test_cells_of_a_backend_lie_together(plugins: Plugins) -> None:
    selection = Selection(
        tasks=["whole", "reverse"], backends=["jax", "flax"], threads=1, seeds=2, quick=True
    )
    trials = plan(selection, plugins)
    groups = by_backend(trials)
    assert sorted(key for group in groups for key in group) == sorted(t.key for t in trials)
    assert [len(group) for group in groups] == [4, 4]
    for group in groups:
        assert len({trial.backend for trial in group.values()}) == 1
        tasks = [trial.task for trial in group.values()]
        assert tasks[0] == tasks[1]
        assert tasks[2] == tasks[3]
    many = [trials[0].model_copy(update={"seed": seed}) for seed in range(MOST_SMOKE + 1)]
    assert [len(group) for group in by_backend(many)] == [MOST_SMOKE, 1]
