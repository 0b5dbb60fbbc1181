"""Each cheat is run as a real trial, and caught: here, or by `check backend`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from echobench.harness.audit import audit
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import JobOptions
from echobench.trial.record import LEAST_CLOCK_SHARE, Record
from tests.attacks import cheats
from tests.plugins.cells import ECHO
from tests.testing.test_backend_checks import FOUND_OUT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimized")]

CHECKED = {"oracle": "judge: ", "lazy": "fingerprint: ", "hasty": "fingerprint: "}
# A trial shows `late` too where its evaluations are long beside a stretch, in two of three here.
OFF_THE_CLOCK = dict.fromkeys(("early", "foreseeing"), "clock: ")
CONTRADICTED = {**CHECKED, **OFF_THE_CLOCK}
"""Cheats whose records do not count, and by what."""
ON_THE_CLOCK = ("unwaited",)
"""Cheats whose time is counted, whenever they train."""


@pytest.fixture(scope="module")
def loaded() -> Plugins:
    return Plugins([Path(cheats.__file__)])


@pytest.fixture(scope="module")
def records(
    loaded: Plugins, optimized: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Record]:
    """Return the record of each cheat that a trial shows, and of the honest JAX."""
    store = Store(tmp_path_factory.mktemp("cheats"))

    def run(names: Sequence[str], *, checked: bool) -> list[Record]:
        selection = Selection(tasks=[ECHO], backends=[*names], threads=1)
        matrix = Matrix(loaded, store, JobOptions(), checked=checked)
        return [*matrix.run(plan(selection, loaded), Watcher())]

    # The judge is asked where it matters: it takes as long as a trial.
    found = run([*CHECKED, "slow"], checked=True)
    found += run([*OFF_THE_CLOCK, *ON_THE_CLOCK, "swapped", "jax"], checked=False)
    return {record.backend: record for record in found}


def test_all_pass_the_parity_gate(records: dict[str, Record]) -> None:
    for name, record in records.items():
        assert name == "slow" or (record.parity is not None and record.parity.passed)


@pytest.mark.parametrize(("name", "by"), CONTRADICTED.items())
def test_what_was_not_learnt_as_stated_does_not_count(
    name: str, by: str, records: dict[str, Record]
) -> None:
    assert records[name].status == "reached"
    assert not records[name].counts
    assert (records[name].contradiction or "").startswith(by)


def test_a_slow_clock_is_noticed(records: dict[str, Record]) -> None:
    """By the parent's, or since more cores would have been busy than there are."""
    assert records["slow"].status == "failed"
    reason = records["slow"].reason or ""
    assert "by its clock" in reason or "busy_cores: expected at most" in reason


@pytest.mark.parametrize("name", ON_THE_CLOCK)
def test_work_before_and_after_an_update_is_on_the_clock(
    name: str, records: dict[str, Record]
) -> None:
    assert records[name].counts
    assert (records[name].clock_share or 0.0) >= LEAST_CLOCK_SHARE


def test_a_network_that_was_trained_beforehand_is_found_by_an_audit(
    records: dict[str, Record], loaded: Plugins, tmp_path: Path
) -> None:
    asked = [records["swapped"], records["jax"]]
    assert all(record.counts for record in asked)
    found = audit(asked, loaded, tmp_path, lambda line: None, whole=True)
    verdicts = {one.record.backend: (one.verdict, one.about) for one in found}
    assert verdicts["jax"][0] == "reproduced"
    assert verdicts["swapped"][0] == "not reproduced"
    assert "in epoch 50" in verdicts["swapped"][1]


def test_every_cheat_is_caught_by_something() -> None:
    seen_in_a_trial = {*CONTRADICTED, *ON_THE_CLOCK, "slow", "swapped"}
    names = {cheat.name for cheat in cheats.CHEATS}
    seen_by_check_backend = {name for name in names if FOUND_OUT.get(name)}
    assert len(names) == 9
    assert names == seen_in_a_trial | seen_by_check_backend
