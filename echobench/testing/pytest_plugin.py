"""The pytest plugin: a test runs a trial as a benchmark of pytest-benchmark.

::

    def test_my_task(echo_benchmark):
        record = echo_benchmark("my-task", backend="...", plugin="my_task.py", epochs=200)
        assert record.status in ("reached", "missed")

pytest loads this module in every session where echobench is installed, so heavy modules
are imported only when a trial runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from echobench.trial.job import Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial

FIXTURE = "echo_benchmark"
WARM_UP = 2
"""Dispatches left out, as from the record's seconds per update: the first epoch, and the
first dispatch of several epochs (`echobench.core.training`)."""


class WorkerClock:
    """The timer of pytest-benchmark, which replays the seconds that the worker measured."""

    def __init__(self) -> None:
        self.__name__ = "worker_clock"  # the timer's name in pytest-benchmark's file
        self._now = 0.0
        self._steps: Iterator[float] = iter(())

    def __call__(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def replay(self, seconds: Sequence[float], times: int) -> None:
        """Let `step` advance by each of these seconds, `times` times each."""
        self._steps = itertools.chain.from_iterable(itertools.repeat(s, times) for s in seconds)

    def step(self) -> None:
        """Advance by the next of the seconds to replay; after the last, stand still."""
        self._now += next(self._steps, 0.0)


CLOCK = pytest.StashKey[WorkerClock]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which trials ended before the epochs that their tests allowed."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties if report.when == "call" else ():
            if name == FIXTURE:
                terminalreporter.write_line(f"{FIXTURE}: {report.nodeid}: {text}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the worker's clock as the timer of the test's `benchmark` fixture, not yet created."""
    if FIXTURE not in getattr(item, "fixturenames", ()):
        return
    if not item.config.pluginmanager.hasplugin("benchmark"):
        pytest.fail(
            f"{FIXTURE}: pytest-benchmark not installed; run: pip install 'echobench[benchmark]'",
            pytrace=False,
        )
    clock = item.stash[CLOCK] = WorkerClock()
    marked = item.get_closest_marker("benchmark")
    options = {**(marked.kwargs if marked else {}), "timer": clock}
    item.add_marker(pytest.mark.benchmark(**options), append=False)


class EchoBenchmark:
    """The value of the fixture `echo_benchmark`; a test calls it once."""

    def __init__(self, request: pytest.FixtureRequest, benchmark: Any, folder: Path) -> None:
        self._request = request
        self._benchmark = benchmark
        self._folder = folder

    def __call__(
        self,
        task: str,
        *,
        backend: str,
        plugin: str | Path | Iterable[str | Path] = (),
        engine: str | None = None,
        division: str = "closed",
        epochs: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        threads: int | None = None,
        timeout_s: float = 600.0,
    ) -> Record:
        """Run one trial in a process of its own, as `echobench run` does, and time its updates.

        A round of the benchmark is one dispatch of training; its value is the seconds per
        update on the worker's clock. Warm-up dispatches are left out, as in the record. The
        benchmark's `extra_info` holds the record's metrics.

        The test is skipped if the backend is not installed or cannot train the task. It fails
        if the trial failed or did not pass the parity gate, and before it trains if `epochs` are
        too few to be timed. A trial that is certified ends there, however many are allowed.

        Args:
            task: as for `--task`, parameters in brackets.
            backend: as for `--backend`.
            plugin: Python files with tasks or backends that are not installed; relative to
                the test's folder.
            engine: training engine (default: the backend's).
            division: `closed` or `open`.
            epochs: the most that it trains (default: ten times the recipe's).
            seed: of weights and data.
            device: `cpu` or `gpu`.
            threads: of the worker (default: as `--threads`).
            timeout_s: limit of the trial in seconds.
        """
        from echobench.errors import EchobenchError
        from echobench.harness.matrix import Matrix, Watcher
        from echobench.harness.plan import Selection, plan
        from echobench.machine.cores import most_threads
        from echobench.plugin.manager import Plugins
        from echobench.store.folder import Store
        from echobench.trial.job import JobOptions

        files = [plugin] if isinstance(plugin, str | Path) else plugin
        selection = Selection(
            tasks=[task],
            backends=[backend],
            engines=[engine] if engine else [],
            divisions=[division],
            first_seed=seed,
            device=device,
            threads=most_threads() if threads is None else threads,
            max_epochs=epochs,
            timeout_s=timeout_s,
        )
        reports: list[Progress] = []
        try:
            plugins = Plugins([self._request.path.parent / file for file in files])
            command = ["pytest", *map(str, self._request.config.invocation_params.args)]
            matrix = Matrix(plugins, Store(self._folder), JobOptions(command=command))
            watcher = Watcher(progressed=lambda _, progress: reports.append(progress))
            (trial,) = plan(selection, plugins)
            if self._benchmark.enabled:
                _check_epochs(trial)
            (record,) = matrix.run([trial], watcher)
        except EchobenchError as error:
            pytest.fail(f"{FIXTURE}: {error}", pytrace=False)
        _judge(record)
        self._report(record, [progress for progress in reports if progress.phase == "train"])
        return record

    def _report(self, record: Record, dispatches: Sequence[Progress]) -> None:
        """Pass the rounds and the record's metrics to pytest-benchmark."""
        from echobench.present.benchmarks import extra_info, group

        steady = dispatches[WARM_UP:]
        if not steady and self._benchmark.enabled:
            pytest.fail(
                f"{FIXTURE}: too short to be timed: {record.status} after {record.epochs} epochs, "
                f"{len(dispatches)} dispatches, of which the first {WARM_UP} warm up; expected a "
                "recipe or a task that takes longer, or one that is evaluated more often",
                pytrace=False,
            )
        batches = (record.updates or 0) // (record.epochs or 1)
        ends = [progress.epoch for progress in dispatches[WARM_UP - 1 :]]
        epochs = min((after - before for before, after in itertools.pairwise(ends)), default=1)
        seconds = [(progress.seconds_per_epoch or 0.0) / batches for progress in steady]
        clock = self._request.node.stash[CLOCK]
        clock.replay(seconds, epochs * batches)
        self._benchmark.group = self._benchmark.group or group(record)
        self._benchmark.extra_info.update(extra_info([record]))
        if record.epochs_to_target is not None:
            ended = (
                f"certified in epoch {record.epochs_to_target:,}, and timed up to there, of the "
                f"{record.trial.max_epochs:,} epochs allowed"
            )
            self._benchmark.extra_info["ended"] = ended
            self._request.node.user_properties.append((FIXTURE, ended))
        self._benchmark.pedantic(
            clock.step, rounds=max(1, len(seconds)), iterations=epochs * batches
        )


def _check_epochs(trial: Trial) -> None:
    """Fail the test if a trial's epochs are all warm-up."""
    from echobench.core.training import warm_up_epochs
    from echobench.worker.trial import longest_dispatch

    warm_up = warm_up_epochs(trial.recipe, longest_dispatch(trial))
    if trial.max_epochs <= warm_up:
        pytest.fail(
            f"{FIXTURE}: too short to be timed: expected epochs={warm_up + 1} or more, since the "
            f"first {WARM_UP} dispatches, to epoch {warm_up}, are the warm-up; received "
            f"epochs={trial.max_epochs}",
            pytrace=False,
        )


def _judge(record: Record) -> None:
    """Skip or fail the test if the trial was not measured."""
    if record.status in {"unavailable", "unsupported"}:
        pytest.skip(str(record.reason))
    if record.status == "failed":
        pytest.fail("\n".join([str(record.reason), *record.log_tail]), pytrace=False)
    if record.contradiction is not None:
        pytest.fail(record.contradiction, pytrace=False)


@pytest.fixture(scope="session")
def _echobench_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder for the session, so that a cell's reference is computed only once."""
    return tmp_path_factory.mktemp("echobench")


@pytest.fixture
def echo_benchmark(
    request: pytest.FixtureRequest, benchmark: Any, _echobench_results: Path
) -> EchoBenchmark:
    """Run one trial in a process of its own, and time its updates with pytest-benchmark."""
    return EchoBenchmark(request, benchmark, _echobench_results)
