"""A backend that compiles again while it trains is noticed, and no other is accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.analysis import table
from echobench.core.training import Dispatch
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.rules import doubts
from echobench.trial.job import JobOptions
from echobench.trial.record import Recompilations, Record
from echobench.worker.recompiling import compiles_always, fixed_s, recompilations
from tests.records import changed

FILE = Path(__file__).parents[1] / "probes" / "recompiling.py"


def dispatches(*calls: tuple[int, float, float]) -> list[Dispatch]:
    return [Dispatch(*call) for call in calls]


STEADY = [(25, 0.1, 0.1)] * 4


@pytest.mark.parametrize(
    ("calls", "times", "seconds"),
    [
        ([(1, 0.01, 0.01), (24, 0.1, 0.1), *STEADY], 0, 0.0),
        # compiled for 24 and for 25, on two cores
        ([(1, 0.004, 0.004), (24, 2.096, 3.096), (25, 1.6, 2.1), *STEADY], 2, 3.5),
        # each length once
        ([(1, 0.01, 0.01), (24, 1.24, 1.24)], 1, 1.0),
        # a stop and stolen time: no processor time
        ([(1, 0.01, 0.01), (24, 5.0, 0.1), (25, 5.0, 0.1), *STEADY], 0, 0.0),
        # threads that wait for each other, here and there
        ([(1, 0.01, 0.01), (24, 0.6, 0.9), (25, 0.1, 0.1), (25, 0.6, 1.0), *STEADY], 0, 0.0),
        # shorter than its own work
        ([(1, 0.1, 0.1), (49, 5.9, 5.9), (50, 5.0, 5.0)], 0, 0.0),
        ([], 0, 0.0),
    ],
)
def test_the_first_dispatch_of_a_length_is_compared_with_the_others(
    calls: list[tuple[int, float, float]], times: int, seconds: float
) -> None:
    found = recompilations(dispatches(*calls))
    assert found["times"] == times
    assert found["seconds"] == pytest.approx(seconds, rel=0.02)


@pytest.mark.usefixtures("optimized")
def test_record_table_and_referee_say_that_a_trial_compiled_again(tmp_path: Path) -> None:
    plugins = Plugins([FILE])
    selection = Selection(
        tasks=["whole[length=12,symbols=10,units=6,batch=8]"],
        backends=["by-length", "jax"],
        threads=1,
        max_epochs=100,
        quick=True,
    )
    matrix = Matrix(plugins, Store(tmp_path, quick=True), JobOptions())
    planned = [trial.model_copy(update={"max_epochs": 100}) for trial in plan(selection, plugins)]
    records = {record.backend: record for record in matrix.run(planned, Watcher())}
    honest, again = records["jax"].recompilations, records["by-length"].recompilations
    assert honest is not None
    assert honest.times == 0
    assert again is not None
    assert again.times == 2  # after the gate's one epoch: 24 epochs, then 25
    trained = (records["by-length"].first_update_s or 0) + (records["by-length"].train_s or 0)
    assert 0 < again.seconds < trained
    smoke = records["by-length"]
    assert "compiled again" not in noted(smoke)
    assert "recompilations" not in dict(doubts(smoke))
    records = {name: changed(one, trial={"quick": False}) for name, one in records.items()}
    warned = dict(doubts(records["by-length"]))["recompilations"]
    assert warned.startswith("compiled again during training 2 times, about ")
    assert warned in noted(records["by-length"])
    assert "compiled again" not in noted(records["jax"])
    once = changed(records["by-length"], recompilations=Recompilations(times=1, seconds=0.5))
    assert str(once.recompiled).startswith("compiled again during training once, about 0.5 s of ")


def noted(record: Record) -> str:
    (line,) = table.summary([record])
    return str(line.get("note", ""))


@pytest.mark.parametrize(
    ("long", "short", "fixed", "always"),
    [
        ([1.94, 1.93], [1.92, 1.94], 1.917, True),  # measured: jitted in each call of `train`
        ([0.0011, 0.0012], [0.0004, 0.0005], 0.0002, False),  # measured: flax
        ([1.5, 0.4], [1.4, 0.1], 0.0, False),  # compiled for each length, the first time
        ([8.0, 8.2], [2.3, 2.3], 0.4, False),  # long epochs, and some work to make ready
        ([0.2, 0.2], [0.2, 0.2], 0.2, False),  # too short to be a compilation
    ],
)
def test_what_a_dispatch_takes_beside_its_work(
    long: list[float], short: list[float], fixed: float, always: bool
) -> None:
    found = fixed_s(long, short, 4)
    assert found == pytest.approx(fixed, abs=1e-3)
    assert compiles_always(found, short) is always
