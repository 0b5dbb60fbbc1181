"""The TensorBoard observer, driven by the real command; its files read back by TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.plugins.cells import ECHO

READ = """
import json, sys
import tensorflow as tf
seen = {}
for event in tf.compat.v1.train.summary_iterator(sys.argv[1]):
    for value in event.summary.value:
        if value.HasField("simple_value"):
            seen.setdefault(value.tag, []).append([event.step, value.simple_value])
print(json.dumps(seen))
"""

FAULTY = """
from echobench import Observer, hookimpl

class Faulty(Observer):
    "Raises."
    name = "faulty"

    def trial_started(self, trial, results):
        raise ZeroDivisionError("no luck")

    def trial_finished(self, trial, record):
        print("told although it had failed")

@hookimpl
def echobench_observers():
    return [Faulty()]
"""


def test_a_trial_is_a_run_with_its_learning_curve_whatever_befalls_another_observer(
    echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    cell = ("--backend", "jax", "--task", ECHO, "--division", "open")
    observers = ("--plugin", "faulty.py", "--observe", "faulty", "--observe", "tensorboard")
    done = echobench("run", *cell, *observers)
    assert done.returncode == 0, done.stderr
    assert "observer 'faulty' is left out from here on: ZeroDivisionError: no luck" in done.stderr
    assert "told although" not in done.stdout
    (events,) = (tmp_path / "results" / "tensorboard").glob("whole_*_jax_fused_open_*/events*")
    assert os.uname().nodename not in events.name
    read = subprocess.run(
        [sys.executable, "-c", READ, str(events)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(read.stdout)
    (file,) = (tmp_path / "results").glob("*.jsonl")
    record = json.loads(file.read_text())
    curve = [[point["epoch"], point["accuracy"]] for point in record["evaluations"]]
    assert [point[0] for point in seen["evaluation/accuracy"]] == [point[0] for point in curve]
    for ours, theirs in zip(curve, seen["evaluation/accuracy"], strict=True):
        assert theirs[1] == pytest.approx(ours[1])
    ((_, seconds),) = seen["result/time_to_target_s"]
    assert seconds == pytest.approx(record["time_to_target_s"])
    assert seen["live/seconds_per_epoch"]


def test_an_observer_that_is_not_there(echobench: Command) -> None:
    done = echobench("run", "--observe", "tensorbord")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "unknown observer 'tensorbord'; did you mean 'tensorboard'?" in done.stderr
