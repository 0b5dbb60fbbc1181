"""A plan that several processes work through: no trial twice, none forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import Dealing, Share, by_process
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.trial.trial import Trial
from tests.records import changed, reached
from tests.store.test_locks import OTHER, locked_elsewhere


@pytest.fixture(scope="module")
def trials(plugins: Plugins) -> list[Trial]:
    return plan(Selection(tasks=["whole"], backends=["jax"], seeds=3), plugins)


def share_of(
    trials: list[Trial], folder: Path, locks: FolderLocks, told: Callable[[int], None]
) -> Share:
    progress_log = ProgressLog(folder)
    progress_log.skip_existing()
    return Share(by_process(trials), locks, progress_log, told)


def recorded(trial: Trial, folder: Path) -> None:
    Store(folder).append(changed(reached(trial.seed, 1.0), key=trial.key))


def test_alone_it_is_the_plan_in_order(trials: list[Trial], tmp_path: Path) -> None:
    told: list[int] = []
    with FolderLocks(tmp_path) as locks:
        share = share_of(trials, tmp_path, locks, told.append)
        taken = []
        while group := share.take():
            taken += group
            assert share.passed == len(taken)
            share.release(group)
    assert taken == trials
    assert told == []


def test_what_another_recorded_is_not_run_again(trials: list[Trial], tmp_path: Path) -> None:
    first, second, third = trials
    with FolderLocks(tmp_path) as locks:
        share = share_of(trials, tmp_path, locks, lambda number: None)
        assert share.take() == [first]
        recorded(second, tmp_path)
        assert share.take() == [third]
        assert share.passed == 3
        assert share.take() is None  # a process that is under way may leave a trial
        share.release([first, third])
        assert share.take() == []


def test_what_a_process_leaves_is_the_next_to_run(trials: list[Trial], tmp_path: Path) -> None:
    first, second, third = trials
    with FolderLocks(tmp_path) as locks:
        progress_log = ProgressLog(tmp_path)
        progress_log.skip_existing()
        share = Share(by_process(trials, Dealing(0, 3, 1)), locks, progress_log)
        assert share.take() == trials
        share.release([first], [second, third])
        assert share.passed == 1
        asked = [sys.executable, "-c", OTHER, str(tmp_path), second.key]
        other = subprocess.run(asked, input="", capture_output=True, text=True, check=True)
        assert other.stdout == "False\n"  # it stays ours
        recorded(second, tmp_path)
        assert share.take() == [third]
        assert share.passed == 3
        share.release([third])
        assert share.take() == []


def test_what_another_runs_is_waited_for(trials: list[Trial], tmp_path: Path) -> None:
    first, second, third = trials
    told: list[int] = []
    with FolderLocks(tmp_path) as locks, locked_elsewhere(tmp_path, first.key, second.key) as other:
        later = threading.Thread(target=ended, args=(other, first, tmp_path))

        def wait(number: int) -> None:
            told.append(number)
            if len(told) == 1:
                later.start()

        share = share_of(trials, tmp_path, locks, wait)
        assert share.take() == [third]
        assert share.take() is None  # there is something else to wait for
        share.release([third])
        # It recorded the first, and was killed amid the second, which falls to us.
        assert share.take() == [second]
        later.join()
        share.release([second])
        assert share.take() == []
    assert told[0] == 2
    assert told[-1] == 0


def ended(other: subprocess.Popen[str], first: Trial, folder: Path) -> None:
    recorded(first, folder)
    other.kill()


def test_waiting_ends_with_the_budget(trials: list[Trial], tmp_path: Path) -> None:
    progress_log = ProgressLog(tmp_path)
    progress_log.skip_existing()
    with (
        FolderLocks(tmp_path) as locks,
        locked_elsewhere(tmp_path, *(trial.key for trial in trials)),
    ):
        share = Share(by_process(trials), locks, progress_log, deadline=time.monotonic() + 0.3)
        assert share.take() == []


def test_replicates_are_claimed_together(plugins: Plugins, tmp_path: Path) -> None:
    selection = Selection(tasks=["whole"], backends=["jax"], seeds=4, replicates=2)
    trials = plan(selection, plugins)
    with FolderLocks(tmp_path) as locks, locked_elsewhere(tmp_path, trials[1].key) as other:
        share = share_of(trials, tmp_path, locks, lambda number: None)
        assert share.take() == trials[2:]
        share.release(trials[2:])
        recorded(trials[0], tmp_path)
        other.kill()
        assert share.take() == [trials[1]]
