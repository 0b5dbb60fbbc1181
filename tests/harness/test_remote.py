"""What another machine is asked comes back whole, or is refused as something else."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import echobench
from echobench.errors import EchobenchError
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.harness.remote import run_packed_job, unpack_records
from echobench.harness.saved_networks import read_network
from echobench.machine.cores import cores, reserved_cores
from echobench.plugin.interfaces import LOCAL, Connection, Executor, Site
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import Job, JobOptions
from echobench.trial.record import Record
from tests.plugins.cells import ECHO
from tests.soak.harness import PLUGIN, Harness


def elsewhere(job: Job) -> str:
    return run_packed_job(job.model_dump_json(), lambda progress: None, {"name": "test"})


@pytest.fixture
def tiny(tmp_path: Path) -> Job:
    """Return a trial of plugins whose file is gone when it is run."""
    file = tmp_path / "quick.py"
    shutil.copy(PLUGIN, file)
    selection = Selection(tasks=["tiny"], backends=["knowing"], threads=1)
    (trial,) = plan(selection, Plugins([file]))
    (plugin,) = set(trial.plugins)
    file.unlink()
    return Job(trials=[trial], command=[], sources={plugin: {file.name: PLUGIN.read_bytes()}})


def test_a_plugin_that_is_a_file_goes_with_its_trial(tiny: Job) -> None:
    (record,) = unpack_records(tiny, elsewhere(tiny))
    assert (record.status, record.key) == ("reached", tiny.trial.key)
    assert record.provenance.executor == {"name": "test"}
    assert record.provenance.cores == record.execution["affinity"]
    assert len(record.provenance.cores or []) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_node_that_gives_too_few_cores_refuses(tiny: Job) -> None:
    granted = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(granted)])
    try:
        two = tiny.trial.model_copy(update={"threads": 2})
        told = r"^a node gives its job too few cores: expected at most 1, .*; received 2; use fewer"
        with pytest.raises(EchobenchError, match=told):
            elsewhere(tiny.model_copy(update={"trials": [two]}))
    finally:
        os.sched_setaffinity(0, granted)


HELPED = """
def told():
    import deeper
    return deeper.TOLD
"""


def test_a_job_that_comes_to_its_turn_after_the_budget_starts_nothing(tiny: Job) -> None:
    late = {"budget_s": 1000.0, "begin_by": time.time() - 1}
    assert unpack_records(tiny, elsewhere(tiny.model_copy(update=late))) == []
    early = {"budget_s": 1000.0, "begin_by": time.time() + 1000}
    (record,) = unpack_records(tiny, elsewhere(tiny.model_copy(update=early)))
    assert record.status == "reached"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_job_that_waits_on_its_node_for_cores_until_the_budget_is_spent_starts_nothing(
    tiny: Job,
) -> None:
    with reserved_cores(len(cores())):
        late = {"budget_s": 1000.0, "begin_by": time.time() + 2}
        assert unpack_records(tiny, elsewhere(tiny.model_copy(update=late))) == []


def test_what_a_cluster_takes_up_after_the_budget_is_left_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "queue.py").write_text(QUEUE)
    harness = Harness(tmp_path, seeds=2)
    records = echobench.run(
        tasks=["tiny"], backends=["knowing"], threads=1, seeds=2, unchecked=True,
        results=harness.results, plugin_files=[PLUGIN, tmp_path / "queue.py"],
        executor="queue", budget_s=5.0,
    )  # fmt: skip # it reads better
    assert records == []
    said = capsys.readouterr().err
    assert "the budget of 5 s is spent; left over: 2 trials" in said
    assert "certified" not in said


QUEUE = """
import contextlib, time
from echobench import Connection, Executor, hookimpl, run_packed_job, unpack_records

class Queue(Executor):
    name = "queue"

    @contextlib.contextmanager
    def connect(self, job, site):
        yield Queued()

class Queued(Connection):
    def room(self):
        return 1

    def start(self, job):
        self.job = job
        return job.trial.key

    def ended(self, handles, seconds):
        return handles

    def records(self, handle):
        while time.time() <= self.job.begin_by:
            time.sleep(0.1)
        done = run_packed_job(self.job.model_dump_json(), lambda progress: None, {"name": "queue"})
        return unpack_records(self.job, done)

    def cancel(self, handle):
        pass

@hookimpl
def echobench_executors():
    return [Queue]
"""
"""A cluster on which each job waits until the budget is spent."""


def test_the_modules_beside_a_plugin_go_with_its_trial(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    (folder / "parts").mkdir(parents=True)
    text = PLUGIN.read_text() + "\nimport parts.helper\nfrom parts import more\n"
    (folder / "quick.py").write_bytes(text.replace("\n", "\r\n").encode())
    (folder / "parts" / "helper.py").write_text(HELPED)
    (folder / "parts" / "more.py").write_bytes(b"# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\n")
    (folder / "deeper.py").write_text("TOLD = 1\n")
    plugins = Plugins([folder / "quick.py"])
    selection = Selection(tasks=["tiny"], backends=["knowing"], threads=1)
    (trial,) = plan(selection, plugins)
    matrix = Matrix(plugins, Store(tmp_path / "results"), JobOptions(), gate=False)
    jobs: list[Job] = []

    class Elsewhere(Executor):
        name = "elsewhere"

        def connect(self, job: Job, site: Site) -> AbstractContextManager[Connection]:
            shutil.rmtree(folder)  # nothing of it is on the other machine

            def run_there(job: Job) -> list[Record]:
                jobs.append(job)
                return unpack_records(job, elsewhere(job))

            local = plugins.executors[LOCAL].value()
            return local.connect(job, dataclasses.replace(site, run_here=run_there))

    matrix.executor = Elsewhere()
    (record,) = matrix.run([trial], Watcher())
    assert (record.status, record.key) == ("reached", trial.key)
    (files,) = jobs[0].sources.values()
    assert {*files} == {"quick.py", "parts/helper.py", "parts/more.py", "deeper.py"}


def test_a_node_with_something_else_installed_refuses(tiny: Job) -> None:
    trial = tiny.trial
    versions = {**trial.versions, "echobench": "0.0.1", "keras": "2.0"}
    other = trial.model_copy(update={"versions": versions})
    with pytest.raises(EchobenchError, match=r"echobench \S+ instead of 0\.0\.1.*install the same"):
        elsewhere(tiny.model_copy(update={"trials": [other]}))
    with pytest.raises(EchobenchError, match=r"keras None instead of 2\.0"):
        elsewhere(tiny.model_copy(update={"trials": [other]}))
    changed = trial.model_copy(update={"source": "0" * 12})
    with pytest.raises(EchobenchError, match="the source of task tiny is another here"):
        elsewhere(tiny.model_copy(update={"trials": [changed]}))
    changed = trial.model_copy(update={"backend_source": "0" * 12})
    with pytest.raises(EchobenchError, match="the source of backend knowing is another here"):
        elsewhere(tiny.model_copy(update={"trials": [changed]}))


def test_a_trained_network_comes_back_with_its_record(
    plugins: Plugins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selection = Selection(tasks=[ECHO], backends=["jax"], divisions=["open"], threads=1)
    job = Job(trials=plan(selection, plugins), save_models=tmp_path / "models")
    path = job.model_path(job.trial)
    assert path is not None
    told = elsewhere(job)
    assert not path.parent.exists()  # the network is another machine's until it is unpacked
    (record,) = unpack_records(job, told)
    assert record.status == "reached"
    assert read_network(path, plugins).trial.key == record.key

    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    capsys.readouterr()
    (again,) = unpack_records(job, told)
    assert again == record
    assert "the network is not saved: File exists\n" in capsys.readouterr().err
