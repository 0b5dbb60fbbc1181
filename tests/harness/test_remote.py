"""What another machine is asked comes back whole, or is refused as something else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from echobench.errors import EchobenchError, StorageError
from echobench.harness.plan import Selection, plan
from echobench.harness.remote import run_packed_job, unpack_records
from echobench.harness.saved_networks import read_network
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from tests.plugins.cells import ECHO
from tests.soak.harness import PLUGIN


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
    return Job(trials=[trial], command=[], sources={plugin: PLUGIN.read_text()})


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


def test_a_node_with_something_else_installed_refuses(tiny: Job) -> None:
    trial = tiny.trial
    versions = {**trial.versions, "echobench": "0.0.1", "keras": "2.0"}
    other = trial.model_copy(update={"versions": versions})
    with pytest.raises(EchobenchError, match=r"echobench \S+ instead of 0\.0\.1.*install the same"):
        elsewhere(tiny.model_copy(update={"trials": [other]}))
    with pytest.raises(EchobenchError, match=r"keras None instead of 2\.0"):
        elsewhere(tiny.model_copy(update={"trials": [other]}))
    changed = trial.model_copy(update={"source": "0" * 12})
    with pytest.raises(EchobenchError, match="the file of task tiny is another on this node"):
        elsewhere(tiny.model_copy(update={"trials": [changed]}))


def test_a_trained_network_comes_back_with_its_record(plugins: Plugins, tmp_path: Path) -> None:
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
    with pytest.raises(StorageError, match=r"^stopped at .*File exists .*same command resumes"):
        unpack_records(job, told)
