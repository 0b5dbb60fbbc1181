"""The progress of a real trial, watched on a real terminal."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress as Bars

from echobench.analysis.costs import History
from echobench.harness.estimate import Estimator
from echobench.harness.forecast import Forecast
from echobench.harness.outlook import took_text
from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import Dealing, by_process
from echobench.plugin.manager import Plugins
from echobench.present.progress import (
    AXIS,
    _bars,
    curve,
    result_message,
    watcher,
    whole_text,
)
from echobench.store.folder import Store
from echobench.trial.cell import StoredTrial
from echobench.trial.job import EVENT, Progress
from echobench.trial.record import INTERRUPTED, Judgement, Record
from echobench.trial.trial import Trial
from echobench.worker.job import _emit
from tests import gone
from tests.conftest import Command
from tests.records import record
from tests.terminals import on_a_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CELL = ("run", "--backend", "jax", "--task", "whole[length=8,symbols=8,n_in=3,units=24]",
        "--division", "open", "--threads", "1", "--watch")  # fmt: skip # as it is typed

pytestmark = pytest.mark.usefixtures("without_asides")


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


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def forecast_of(plugins: Plugins, clock: Clock, **fields: Any) -> tuple[list[Trial], Forecast]:
    """Return four trials, and what is foreseen of them: 4 s of start and 100 s of training each."""
    fields = {"tasks": ["associative-recall"], "backends": ["tensorflow"], "seeds": 4, **fields}
    trials = plan(Selection(threads=1, **fields), plugins)
    history = History()
    history.add(finished(trials[0], 99))
    estimator = Estimator(history, None, checked=False)
    return trials, Forecast(estimator, by_process(trials), clock=clock)


def finished(trial: Trial, seed: int) -> Record:
    """Return the record of a trial that took 104 s."""
    stored = StoredTrial.of(trial.model_copy(update={"seed": seed}))
    spent = {"import_s": 3.0, "build_s": 0.5, "compile_s": 0.5, "train_s": 100.0, "epochs": 2000}
    return record(
        seed, key=trial.key, task=trial.label, backend=trial.backend, engine=trial.engine,
        trial=msgspec.to_builtins(stored), **spent,
    )  # fmt: skip # in three lines it reads better


@pytest.mark.parametrize("width", [60, 80, 110, 140])
def test_nothing_is_cut_off_while_a_trial_runs(width: int, plugins: Plugins) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    step = Progress(phase="train", epoch=12_345, accuracy=0.98765, seconds_per_epoch=0.00205)
    said = []
    for progress in (Progress(phase="reference"), step):
        stream = io.StringIO()
        with _bars(Console(file=stream, width=width, force_terminal=True), forecast) as watcher:
            watcher.started(0, trials[:1])
            watcher.progressed(trials[0], progress)
        lines = re.split(r"[\r\n]+", ESCAPES.sub("", stream.getvalue()))
        assert max(map(cell_len, lines)) <= width
        said.append("\n".join(lines))
        clock.now += 44.0
    assert "…" not in said[0] + said[1]
    assert "0/4 trials, about 7 min left" in said[0]  # four times 104 s
    assert "0/4 trials, about 6 min left" in said[1]
    for text in said:
        assert (f"[1/4] {trials[0].name} " in text) == (width > 60)  # there it takes two lines
    assert "  checking against the tutorial's program" in said[0]
    assert "  epoch 12,345/" in said[1]
    shown = ["accuracy 98.77%, 2.05 ms/epoch" in said[1], "━━━" in said[1]]
    assert shown == [width > 60, width > 80]


def test_the_time_left_follows_what_the_run_records(plugins: Plugins) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    assert whole_text(forecast) == "0/4 trials, about 7 min left"
    forecast.progress(trials[0], Progress(phase="import"))
    clock.now = 300.0  # longer than expected: what is left is the others'
    assert forecast.left_s() == pytest.approx(3 * 104)
    slow = finished(trials[0], 0)
    forecast.finish(msgspec.structs.replace(slow, train_s=300.0))
    assert whole_text(forecast) == "1/4 trials, about 10 min left"  # three times 204 s
    for number, trial in enumerate(trials[1:], start=1):
        forecast.finish(finished(trial, number))
    assert whole_text(forecast) == "4/4 trials"


def test_the_time_left_begins_again_with_each_process_of_a_job(plugins: Plugins) -> None:
    """What the first took was taken off what the others of its job still had to take."""
    clock = Clock()
    trials, alone = forecast_of(plugins, clock)
    forecast = Forecast(alone.estimator, by_process(trials, Dealing.of(0, 4, 1)), clock=clock)
    assert forecast.left_s() == pytest.approx(4 * 104)  # longer than a minute: a process each
    for number, trial in enumerate(trials):
        forecast.progress(trial, Progress(phase="import"))
        clock.now += 50.0
        assert forecast.left_s() == pytest.approx((4 - number) * 104 - 50)
        clock.now += 54.0
        forecast.finish(finished(trial, number))
        assert forecast.left_s() == pytest.approx((3 - number) * 104)


def test_a_trial_whose_judge_was_interrupted_is_none_that_is_done(plugins: Plugins) -> None:
    trials, forecast = forecast_of(plugins, Clock())
    record = finished(trials[0], 0)
    forecast.finish(
        msgspec.structs.replace(record, judge=Judgement(by="plain Keras", failure=INTERRUPTED))
    )
    assert forecast.done == 0
    forecast.finish(record)
    assert forecast.done == 1


def test_the_time_left_begins_again_with_each_attempt(plugins: Plugins) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    forecast.progress(trials[0], Progress(phase="train", epoch=3))
    clock.now = 90.0  # where it fails
    forecast.progress(trials[0], Progress(phase="attempt 2"))
    clock.now = 100.0
    assert forecast.left_s() == pytest.approx(4 * 104 - 10)


def test_a_late_message_of_a_trial_that_is_recorded_is_no_work(plugins: Plugins) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    forecast.progress(trials[0], Progress(phase="import"))
    clock.now = 104.0
    forecast.finish(finished(trials[0], 0))
    forecast.progress(trials[0], Progress(phase="judge"))
    forecast.progress(trials[1], Progress(phase="waiting for a free core"))
    clock.now = 134.0
    assert (forecast.worked_s, forecast.waited_s) == (104.0, 30.0)


def test_of_an_unknown_trial_only_what_is_known_is_told(plugins: Plugins) -> None:
    """The start of its backend is known, by another task's trial."""
    trials, forecast = forecast_of(plugins, Clock())
    others = plan(Selection(tasks=["whole[length=7]"], backends=["tensorflow"]), plugins)
    both = Forecast(forecast.estimator, by_process([*trials, *others]))
    assert not both.is_known
    assert whole_text(both) == "0/5 trials, more than 7 min left"


def test_jobs_side_by_side_share_the_time(plugins: Plugins) -> None:
    trials, forecast = forecast_of(plugins, Clock())
    groups = by_process(trials)
    assert Forecast(forecast.estimator, groups, 2).left_s() == pytest.approx(2 * 104)
    assert Forecast(forecast.estimator, groups, 8).left_s() == pytest.approx(104)  # the longest
    clock = Clock()
    remote = Forecast(forecast.estimator, groups, None, clock=clock)
    for trial in trials:
        remote.progress(trial, Progress(phase="import"))
    clock.now = 4.0
    assert remote.left_s() == pytest.approx(100)  # as many as are under way


def test_what_a_plan_took_holds_no_waiting(plugins: Plugins) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    ahead = forecast.estimator.estimate([[trial] for trial in trials])
    wait, work = Progress(phase="waiting for a free core"), Progress(phase="import")
    for seconds, trial, progress in (
        (0.0, trials[0], work),
        (100.0, trials[1], wait),  # beside one that works
        (10.0, trials[1], work),
        (90.0, trials[2], wait),
    ):
        clock.now += seconds
        forecast.progress(trial, progress)
    for number, trial in enumerate(trials[:2]):
        forecast.finish(finished(trial, number))
    clock.now += 30.0  # now nothing else runs
    assert (forecast.worked_s, forecast.waited_s) == (200.0, 30.0)
    forecast.progress(trials[2], work)
    clock.now += 50.0
    both = {trial.key for trial in trials[:2]}
    said = "2 trials in 4 min, without 30 s of waiting for cores"
    assert took_text(ahead, both, forecast, 1) == f"{said} (3 min expected)"
    assert took_text(ahead, both, forecast, 2) == f"{said} (2 min expected)"
    assert took_text(ahead, both, forecast, None) == said


def test_without_a_terminal_the_whole_is_said_once_a_minute(
    plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    trials, forecast = forecast_of(plugins, clock)
    with watcher(forecast) as shown:
        for number, trial in enumerate(trials):
            shown.started(number, [trial])
            clock.now += 50.0
            shown.finished(trial, finished(trial, number))
    whole = [line for line in capsys.readouterr().err.splitlines() if "/4 trials" in line]
    assert whole == ["2/4 trials, about 3 min left"]


def test_trials_side_by_side_have_a_line_each(plugins: Plugins) -> None:
    trials, forecast = forecast_of(plugins, Clock(), seeds=2)
    stream = io.StringIO()
    with _bars(Console(file=stream, width=80, force_terminal=True), forecast) as watcher:
        for number, trial in enumerate(trials):
            watcher.started(number, [trial])
        for epoch, trial in zip((11, 22), trials, strict=True):
            watcher.progressed(trial, Progress(phase="train", epoch=epoch))
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", stream.getvalue()))
    assert max(map(cell_len, lines)) <= 80
    for number, epoch in ((1, 11), (2, 22)):  # each with its phase on a line below
        at = max(at for at, line in enumerate(lines) if f"[{number}/2]" in line)
        assert f"epoch {epoch}/" in lines[at + 1]


def test_a_process_takes_its_bar_with_it_as_it_ends(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a process which had left trials to another stayed to the end of the run."""
    made: list[Bars] = []

    class Kept(Bars):
        def __init__(self, *columns: Any, **fields: Any) -> None:
            super().__init__(*columns, **fields)
            made.append(self)

    monkeypatch.setattr("echobench.present.progress.Bars", Kept)
    trials, forecast = forecast_of(plugins, Clock())

    def beside_the_whole() -> list[str]:
        (bars,) = made
        return [task.description for task in bars.tasks[1:]]

    with _bars(Console(file=io.StringIO(), width=80, force_terminal=True), forecast) as watcher:
        watcher.started(0, trials)
        assert len(beside_the_whole()) == 1
        for number, trial in enumerate(trials[:2]):
            watcher.finished(trial, finished(trial, number))
            assert beside_the_whole() == []
        watcher.started(2, trials[2:])  # lost with its machine, without a record
        watcher.started(2, trials[2:])
        (bar,) = beside_the_whole()
        assert bar.startswith(f"[3/4] {trials[2].name}\n")
        for number, trial in enumerate(trials[2:], start=2):
            watcher.finished(trial, finished(trial, number))
        assert beside_the_whole() == []


def test_what_a_job_does_as_a_whole_is_said_of_the_job(
    plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of its trials was shown again after the last: [6/7], then [4/7]."""
    trials, forecast = forecast_of(plugins, Clock(), seeds=7)
    job = f"{trials[3].name} and 2 more"
    wait = Progress(phase="waiting for a free core")
    shown = []
    for progress, of in ((wait, 3), (Progress(phase="train"), 5), (Progress(phase="judge"), 3)):
        stream = io.StringIO()
        with _bars(Console(file=stream, width=140, force_terminal=True), forecast) as bars:
            bars.started(3, trials[3:6])
            bars.progressed(trials[of], progress)
        written = ESCAPES.sub("", stream.getvalue())
        shown += re.findall(r"(\[[\d-]+/7\] .*?) +━", written)[-1:]
    assert shown == [f"[4-6/7] {job}", f"[6/7] {trials[5].name}", f"[4-6/7] {job}"]
    with watcher(forecast) as lines:
        lines.started(3, trials[3:6])
        lines.started(6, trials[6:])
        for _ in range(2):  # it is said once
            lines.progressed(trials[3], wait)
            lines.progressed(trials[6], wait)
    assert capsys.readouterr().err.splitlines() == [
        f"[4-6/7] {job} ...",
        f"[7/7] {trials[6].name} ...",
        f"    [4-6/7] {job}: waiting for a free core",
        f"    [7/7] {trials[6].name}: waiting for a free core",
    ]


def test_results_on_a_terminal_of_80_columns_are_indented(tmp_path: Path) -> None:
    (tmp_path / gone.NAME).write_text(gone.GONE)
    command = [sys.executable, "-m", "echobench", "run", "--backend", "gone", "--plugin", gone.NAME,
               "--task", "associative-recall", "--threads", "1"]  # fmt: skip # as it is typed
    code, written = on_a_terminal(command, 80, 24, term="xterm-256color", folder=tmp_path)
    assert code == 0, written
    seen = re.split(r"[\r\n]+", ESCAPES.sub("", written))
    assert max(map(cell_len, seen)) <= 80
    result = seen.index("associative-recall gone native closed seed 0: unavailable, it went away ")
    assert seen[result + 1] == "    while the run was being prepared"
