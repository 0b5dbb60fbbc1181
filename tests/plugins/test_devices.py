"""One trial over several devices: virtual ones of the CPU, in a real worker."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Command


def test_a_trial_over_two_devices_trains_what_one_does(echobench: Command, tmp_path: Path) -> None:
    cell = (
        "--task",
        "whole[length=8,symbols=10,units=6,batch=4,sequences=2]",
        "--backend",
        "jax",
        "--backend",
        "flax",
    )
    engines = ("--engine", "fused", "--engine", "fit", "--engine", "native")
    done = echobench("run", *cell, *engines, "--devices", "2", "--quick")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "results" / "quick").glob("*.jsonl")
    found = {
        (record["backend"], record["engine"]): record
        for record in map(json.loads, file.read_text().splitlines())
    }
    for engine in ("fused", "fit"):
        record = found["jax", engine]
        # The reference was trained on one device.
        assert record["parity"]["passed"], record
        assert record["trial"]["devices"] == 2
        assert record["provenance"]["path"]["devices_used"] == ["cpu:0", "cpu:1"]
    alone = found["flax", "native"]
    assert (alone["status"], alone["reason"]) == (
        "unsupported",
        "flax trains on one device; leave --devices out",
    )


def test_a_batch_that_cannot_be_parted_is_named(echobench: Command) -> None:
    done = echobench("run", "--task", "whole", "--backend", "jax", "--devices", "2", "--dry-run")
    assert done.returncode == 2
    assert "--devices 2: expected a divisor of the 7 samples" in done.stderr
