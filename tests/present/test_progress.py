"""The progress of a real trial, watched on a real terminal."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from echobench.present.progress import AXIS, curve, result_message
from echobench.store.folder import Store
from echobench.trial.job import EVENT, Progress
from echobench.worker.job import _emit
from tests.conftest import Command
from tests.records import record
from tests.terminals import on_a_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CELL = ("run", "--backend", "jax", "--task", "whole[length=8,symbols=8,n_in=3,units=24]",
        "--division", "open", "--threads", "1", "--watch")  # fmt: skip # as it is typed


def test_the_curve_rises_and_the_echo_turns_right(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "echobench", *CELL]
    code, written = on_a_terminal(command, 80, 30, term="xterm-256color", folder=tmp_path)
    assert code == 0, written
    seen = ESCAPES.sub("", written).replace("\r", "")
    (record,) = Store.read(tmp_path / "results")
    assert record.status == "reached"
    last = f"{record.updates_to_target:,} updates, {record.epochs_to_target:,} epochs"
    picture = seen[: seen.index("certified 100%")]
    assert "accuracy 100.00%, sequences all right 100%" in picture
    assert last in picture
    *_, (expected, predicted, signs) = re.findall(
        r"expected (.*)\n *predicted (.*)\n *([✓✗│ ]+)\n", picture
    )
    shown = [" ".join(map(str, sample.expected)) for sample in record.samples]
    echoes = [" ".join(one.split()) for one in expected.split("│")]
    assert echoes == shown[: len(echoes)]
    assert predicted.split() == expected.split()
    assert set(signs.split()) == {"✓", "│"}
    rows = re.findall(r"^(?:100%|  0%|    ) │.*$", picture, re.MULTILINE)[-8:]
    assert rows[0].startswith("100% │")
    assert rows[0].endswith("█")  # nothing is wrong at its end


def test_without_a_terminal_the_progress_is_told_in_lines(echobench: Command) -> None:
    done = echobench(*CELL, "--budget", "0.001s")
    assert done.returncode == 0, done.stderr
    assert "--watch: expected a terminal" in done.stderr


@pytest.mark.parametrize(("width", "height"), [(20, 2), (40, 5), (120, 8)])
def test_a_curve_is_as_high_as_what_it_shows(width: int, height: int) -> None:
    points = [(10, 0.0), (20, 0.25), (40, 0.5), (80, 0.999), (100, 1.0)]
    rows = curve(points, width, height).plain.splitlines()
    assert max(map(len, rows)) <= width
    body = [row[AXIS:].ljust(width - AXIS - 1) for row in rows[:height]]
    columns = [" ▁▂▃▄▅▆▇█".index(c) for c in body[0]]
    assert columns[-1] == 8
    assert columns[-2] < 8  # 99.9% is not full
    for column in range(width - AXIS - 1):
        epoch = (column + 1) * 100 / (width - AXIS - 1)
        shown = sum(" ▁▂▃▄▅▆▇█".index(row[column]) for row in body) / (8 * height)
        now = max((a for e, a in points if e <= epoch), default=0.0)
        assert now - 1 / (8 * height) < shown <= now
    assert rows[-1].endswith("100 epochs")


def test_unwatched_a_worker_says_nothing_of_looks() -> None:
    told = io.StringIO()
    _emit(told, Progress(phase="train", epoch=3, accuracy=0.5))
    assert "look" not in told.getvalue()
    assert EVENT.validate_json(told.getvalue()) == Progress(phase="train", epoch=3, accuracy=0.5)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"time_to_target_s": 1.5, "epochs_to_target": 1200, "epochs": 1200},
         "certified 100% after 1.5 s of training, 1,200 epochs"),
        ({"epochs_to_target": 1200, "epochs": 1200}, "certified 100% after 1,200 epochs"),
        ({"status": "missed", "accuracy": 0.5, "epochs": 30},
         "missed, accuracy 50.0000% after 30 epochs"),
        ({"status": "missed", "epochs": 30}, "missed after 30 epochs"),
        ({"status": "timeout", "epochs": 30}, "timeout after 30 epochs"),
        ({"status": "failed", "reason": "bad luck"}, "failed, bad luck"),
        ({"status": "failed"}, "failed"),
    ],
)  # fmt: skip # what is measured and what is told stand together
def test_what_was_not_measured_is_not_told(fields: dict[str, Any], told: str) -> None:
    """Replicates have no time of their own: they were told as "reached, None"."""
    assert result_message(record(**fields)) == f"partial jax fused closed seed 0: {told}"
