"""The progress of a real trial, watched on a real terminal."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.present.progress import AXIS, _bars, curve, result_message
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
    picture, _, _ = re.split(r"certified\s+(100%)", seen, maxsplit=1)
    assert "accuracy 100%, sequences all right 100%" in picture
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
        ({"epochs_to_target": 1200, "trial": {"test_set": "held out", "screen": 412}},
         "certified 100% of its 412 test sequences after 1,200 epochs"),
        ({"epochs_to_target": 1200, "trial": {"test_set": "held out", "screen": 1}},
         "certified 100% of its only test sequence after 1,200 epochs"),
        ({"status": "missed", "accuracy": 0.5, "epochs": 30},
         "missed, accuracy 50% after 30 epochs"),
        ({"status": "missed", "epochs": 30}, "missed after 30 epochs"),
        ({"status": "timeout", "epochs": 30}, "timeout after 30 epochs"),
        ({"status": "failed", "reason": "bad luck"}, "failed, bad luck"),
        ({"status": "failed"}, "failed"),
    ],
)  # fmt: skip # what is measured and what is told stand together
def test_what_was_not_measured_is_not_told(fields: dict[str, Any], told: str) -> None:
    """Replicates have no time of their own: they were told as "reached, None"."""
    assert result_message(record(**fields)) == f"partial jax fused closed seed 0: {told}"


@pytest.mark.parametrize("width", [60, 80, 110, 140])
def test_a_running_trial_keeps_to_its_line(width: int, plugins: Plugins) -> None:
    selection = Selection(tasks=["associative-recall"], backends=["tensorflow"], threads=1)
    (trial,) = plan(selection, plugins)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True)
    with _bars(console, 1) as watcher:
        watcher.started(0, [trial])
        watcher.progressed(
            trial,
            Progress(phase="train", epoch=12_345, accuracy=0.98765, seconds_per_epoch=0.00205),
        )
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", stream.getvalue()))
    assert max(map(cell_len, lines)) <= width
    said = "\n".join(lines)
    assert "[1/1] associative-recall tensorflow fused" in said
    assert ["epoch 12,345/" in said, "accuracy 98.77%" in said, "━━━" in said] == [
        width > 60, width > 80, width > 120
    ]  # fmt: skip # one line reads better
    heights = {text.count("\n") for text in stream.getvalue().split("\x1b[2K")}
    assert heights <= {0, 1}  # a wrapped line would take two


def test_results_on_a_terminal_of_80_columns_are_indented(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "echobench", "run", "--quick", "--backend", "numpy", "--task",
               "associative-recall", "--threads", "1"]  # fmt: skip # as it is typed
    code, written = on_a_terminal(command, 80, 24, term="xterm-256color", folder=tmp_path)
    assert code == 0, written
    seen = re.split(r"[\r\n]+", ESCAPES.sub("", written))
    assert max(map(cell_len, seen)) <= 80
    result = seen.index("associative-recall numpy fused closed seed 0: unsupported, numpy only ")
    assert seen[result + 1] == "    predicts; use echobench predict"
