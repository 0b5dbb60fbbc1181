"""The TensorBoard observer, driven by the real command; its files read back by TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from echobench.harness.matrix import Watcher
from echobench.harness.observing import observed
from echobench.plugin.manager import Plugins
from echobench.trial.job import Progress
from echobench.trial.trial import Trial
from tests.conftest import Command
from tests.plugins.cells import ECHO
from tests.records import TRIAL, record

READ = """
import json, pathlib, sys
import tensorflow as tf
for folder in sys.stdin:
    runs = {}
    for file in sorted(pathlib.Path(folder.rstrip()).glob("*/events*")):
        seen = runs.setdefault(file.parent.name, {"files": []})
        seen["files"].append(file.name)
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    seen.setdefault(value.tag, []).append([event.step, value.simple_value])
                else:
                    seen[value.tag] = value.tensor.string_val[0].decode().strip()
    print(json.dumps(runs), flush=True)
"""
STATUS = "status/text_summary"

FAULTY = """
from echobench import Observer, hookimpl

class Faulty(Observer):
    "Raises."
    name = "faulty"

    def trial_started(self, trial, results):
        raise ZeroDivisionError("no luck")

    def trial_finished(self, trial, record):
        print("told although it had failed")

    def run_ended(self):
        print("told although it had failed")

@hookimpl
def echobench_observers():
    return [Faulty()]
"""

SIDE_BY_SIDE = """
import contextlib, itertools, json, pathlib
from echobench import (
    Connection, Executor, JobLostError, Progress, hookimpl, run_packed_job, unpack_records,
)

class Three(Executor):
    "Three jobs at once, whose progress arrives in turns; the first attempt at seed 1 is lost."
    name = "three"

    @contextlib.contextmanager
    def connect(self, job, site):
        yield At(site)

class At(Connection):
    def __init__(self, site):
        self.site, self.jobs, self.packed, self.lost = site, {}, {}, set()

    def room(self):
        return 3

    def start(self, job):
        handle = f"{job.trial.key} {len(self.jobs)}"
        self.jobs[handle] = job
        return handle

    def ended(self, handles, seconds):
        told = {}
        for handle in handles:
            said, job = [], self.jobs[handle]
            report = lambda progress: said.append(progress.model_dump_json())
            self.packed[handle] = run_packed_job(job.model_dump_json(), report, {"name": "three"})
            told[handle] = [Progress.model_validate_json(text) for text in said]
            log = [[p.epoch, p.accuracy] for p in told[handle] if p.accuracy is not None]
            pathlib.Path(f"seed-{job.trial.seed}.json").write_text(json.dumps(log))
        for reports in itertools.zip_longest(*told.values()):
            for handle, progress in zip(told, reports):
                if progress is not None:
                    self.site.progressed(self.jobs[handle].trial, progress)
        return list(reversed(handles))

    def records(self, handle):
        job = self.jobs[handle]
        if job.trial.seed == 1 and job.trial.key not in self.lost:
            self.lost.add(job.trial.key)
            raise JobLostError("its machine is gone")
        return unpack_records(job, self.packed[handle])

    def cancel(self, handle):
        pass

@hookimpl
def echobench_executors():
    return [Three]
"""
CELL = ("--backend", "jax", "--task", ECHO, "--division", "open", "--threads", "1")
OBSERVED = ("--observe", "tensorboard", "--unchecked")
"""No observer is told of the judge, nor of the reference's fingerprints."""


Runs = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def runs_in() -> Iterator[Runs]:
    """Return what reads the runs of a results folder: one process, where TensorFlow starts once."""
    with subprocess.Popen(
        [sys.executable, "-c", READ],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def read(results: Path) -> dict[str, Any]:
            print(results / "tensorboard", file=reader.stdin, flush=True)
            assert reader.stdout is not None
            found: dict[str, Any] = json.loads(reader.stdout.readline())
            assert all(len(run["files"]) == 1 for run in found.values())
            return found

        yield read
        reader.stdin.close()


def recorded(results: Path) -> list[dict[str, Any]]:
    text = "".join(file.read_text() for file in results.glob("*.jsonl"))
    found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    return sorted(found, key=lambda told: str(told["started_at"]))


def is_curve_of(run: dict[str, Any], told: dict[str, Any]) -> bool:
    """Return whether a run has the learning curve of a record, and no other value in it."""
    curve = [[point["epoch"], point["accuracy"]] for point in told["evaluations"]]
    return bool(run["evaluation/accuracy"] == [[e, pytest.approx(value)] for e, value in curve])


def test_a_trial_is_a_run_with_its_learning_curve_whatever_befalls_another_observer(
    runs_in: Runs, echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    done = echobench("run", *CELL, "--plugin", "faulty.py", "--observe", "faulty", *OBSERVED)
    assert done.returncode == 0, done.stderr
    assert ": ZeroDivisionError: no luck" in done.stderr
    assert "told although" not in done.stdout
    ((name, run),) = runs_in(tmp_path / "results").items()
    (told,) = recorded(tmp_path / "results")
    assert name.startswith("whole_")
    assert name.endswith(f"_jax_fused_open_seed_0-{told['key']}")
    assert os.uname().nodename not in run["files"][0]
    assert is_curve_of(run, told)
    ((_, seconds),) = run["result/time_to_target_s"]
    assert seconds == pytest.approx(told["time_to_target_s"])
    assert run["live/seconds_per_epoch"]
    assert run[STATUS] == "reached"

    # Run again, it is a further run, and the first one stays as it was.
    assert echobench("run", *CELL, *OBSERVED, "--force").returncode == 0
    found = runs_in(tmp_path / "results")
    assert found.keys() == {name, f"{name}-2"}
    assert found[name] == run
    assert is_curve_of(found[f"{name}-2"], recorded(tmp_path / "results")[-1])


def test_trials_side_by_side_are_a_run_each(
    runs_in: Runs, echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "three.py").write_text(SIDE_BY_SIDE)
    asked = ("--seeds", "3", "--executor", "three", "--plugin", "three.py", "--max-epochs", "12")
    done = echobench("run", *CELL, *OBSERVED, *asked)
    assert done.returncode == 0, done.stderr
    found = runs_in(tmp_path / "results")
    whole = {}
    for told in recorded(tmp_path / "results"):
        (again, seed), key = (told["provenance"]["executor"].get("lost"), told["seed"]), told["key"]
        (*lost, name) = sorted(name for name in found if key in name)
        assert len(lost) == (1 if again else 0)
        whole[seed] = found[name]
        assert is_curve_of(found[name], told)
        live = json.loads((tmp_path / f"seed-{seed}.json").read_text())
        assert live
        assert found[name]["live/accuracy"] == [[e, pytest.approx(value)] for e, value in live]
        assert found[name][STATUS] == told["status"]
        for name in lost:
            assert found[name]["live/accuracy"] == whole[seed]["live/accuracy"]
            assert found[name][STATUS] == "it began again: see the next run"
            assert "evaluation/accuracy" not in found[name]
    assert whole.keys() == {0, 1, 2}
    assert len(found) == 4


def test_each_replicate_is_a_run(runs_in: Runs, echobench: Command, tmp_path: Path) -> None:
    asked = ("--replicates", "2", "--max-epochs", "12")
    done = echobench("run", *CELL, *OBSERVED, *asked, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    found = runs_in(tmp_path / "results")
    records = recorded(tmp_path / "results")
    assert len(found) == len(records) == 2
    for told in records:
        (run,) = (run for name, run in found.items() if name.endswith(told["key"]))
        assert is_curve_of(run, told)
        assert ("live/accuracy" in run) == (told["seed"] == 0)  # the first one's is of both


def test_what_is_interrupted_or_begins_again_is_closed(
    runs_in: Runs, plugins: Plugins, tmp_path: Path
) -> None:
    """Every way in which a run can end, on the observer alone."""
    observers = [plugins.observers["tensorboard"].value]
    trials = [Trial(**{**TRIAL, "seed": seed}) for seed in range(6)]
    cut, retried, back, waiting, first, second = trials

    def at(epoch: int) -> Progress:
        return Progress(phase="train", epoch=epoch, accuracy=epoch / 100)

    def finish(watcher: Watcher, trial: Trial) -> None:
        told = record(trial.seed, epochs=9, evaluations=[], time_to_target_s=float(trial.seed))
        watcher.finished(trial, told)

    def interrupted(watcher: Watcher) -> None:
        for trial in (cut, retried, back, waiting):
            watcher.started(0, [trial])
        watcher.started(0, [first, second])
        for trial in (cut, retried, back, first):
            watcher.progressed(trial, at(5))
        watcher.progressed(retried, Progress(phase="attempt 2"))
        watcher.progressed(first, Progress(phase="attempt 2"))
        for trial in (cut, retried, back, first):
            watcher.progressed(trial, at(3 if trial is back else 6))
        for trial in (retried, second, first):
            finish(watcher, trial)
        watcher.progressed(first, at(9))  # it comes too late
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), observed(Watcher(), observers, tmp_path) as watcher:
        interrupted(watcher)
    found = runs_in(tmp_path)

    def lives(trial: Trial) -> list[list[int]]:
        """Return the epochs of each of the trial's runs."""
        names = sorted(name for name in found if trial.key in name)
        return [[epoch for epoch, _ in found[name].get("live/accuracy", [])] for name in names]

    def statuses(trial: Trial) -> list[str]:
        return [found[name][STATUS] for name in sorted(found) if trial.key in name]

    again = "it began again: see the next run"
    assert (lives(cut), statuses(cut)) == ([[5, 6]], ["interrupted"])
    assert (lives(retried), statuses(retried)) == ([[5], [6]], [again, "reached"])
    assert (lives(back), statuses(back)) == ([[5], [3]], [again, "interrupted"])
    assert lives(waiting) == []  # it had not begun
    assert (lives(first), statuses(first)) == ([[5], [6]], [again, "reached"])
    assert (lives(second), statuses(second)) == ([[]], ["reached"])


def test_a_loss_that_is_not_finite_ends_no_observer(
    runs_in: Runs, plugins: Plugins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    observers = [plugins.observers["tensorboard"].value]
    points = [
        {"epoch": epoch, "train_s": 1.0, "loss": loss, "accuracy": 0.5, "exact_match": 0.0}
        for epoch, loss in ((1, 2.0), (2, None))
    ]
    trial = Trial(**TRIAL)
    with observed(Watcher(), observers, tmp_path) as watcher:
        watcher.started(0, [trial])
        watcher.finished(trial, record(status="missed", epochs=2, evaluations=points))
    assert capsys.readouterr().err == ""
    (run,) = runs_in(tmp_path).values()
    assert [epoch for epoch, _ in run["evaluation/loss"]] == [1]
    assert [epoch for epoch, _ in run["evaluation/accuracy"]] == [1, 2]


def test_an_observer_that_is_not_there(echobench: Command) -> None:
    done = echobench("run", "--observe", "tensorbord")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "unknown observer 'tensorbord'; did you mean 'tensorboard'?" in done.stderr
