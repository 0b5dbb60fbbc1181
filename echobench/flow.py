"""From what is asked for to records and their table: plan, run, record, table."""

from __future__ import annotations

import contextlib
import functools
import itertools
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from echobench import interrupts
from echobench.analysis.costs import History
from echobench.errors import EchobenchError, UsageError
from echobench.harness.asking import check_backends, in_one_line, left_out_here
from echobench.harness.estimate import Estimate, Estimator
from echobench.harness.forecast import Forecast
from echobench.harness.matrix import Matrix
from echobench.harness.named import find_observers, make_executor
from echobench.harness.observing import observed
from echobench.harness.outlook import Outlook, took_text, total_text
from echobench.harness.plan import Selection, plan
from echobench.harness.request import Options, Request
from echobench.harness.sharing import Dealing, by_process
from echobench.machine import facts
from echobench.machine.cores import check_threads
from echobench.output import make_console
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.progress_log import ProgressLog
from echobench.text import counted, duration, say
from echobench.trial.job import JobOptions
from echobench.trial.record import COUNTED, Machine, Record, latest
from echobench.trial.selectors import explained
from echobench.trial.trial import Trial

if TYPE_CHECKING:
    from echobench.trial.record import Sample

Selected = TypeVar("Selected", bound=Selection)
RESUMES = "the same command resumes"


def run(request: Request | None = None, **fields: Any) -> list[Record]:
    """Train, certify and record what is asked for; return the records.

    The same call again resumes: finished trials are not run again. Progress goes to stderr,
    and nothing to stdout::

        records = echobench.run(tasks=["partial"], backends=["jax"], threads=1, seeds=3)

    Args:
        request: what is asked for.
        fields: of a `Request`, in its place.

    Raises:
        UsageError: the request cannot be carried out as written.
        StorageError: the results folder takes no more records.
    """
    try:
        session = execute(request or Request(**fields), ["echobench.run"])
    except ValidationError as error:
        raise UsageError(f"run: {explained(error)}") from error
    return latest(list(session.records()))


def execute(
    request: Request,
    command: Sequence[str],
    *,
    agrees: Callable[[Outlook], bool] = lambda outlook: True,
    table: bool = False,
) -> Session:
    """Plan, run and record what is asked for, if the user `agrees`; print the table, if wanted."""
    session, rounds, outlook = _prepared(request, command)
    if not agrees(outlook):
        return session
    session.prepare()
    left, asked = [], dict[str, Trial]()
    with interrupts.on_interrupt_say(session.so_far):
        for planned in itertools.chain([outlook.trials], rounds):
            new = {key: trial for trial in planned if (key := trial.key) not in session.keys}
            asked |= new
            left = session.make([*new.values()], outlook.done)
            session.keys |= new.keys()
            if session.is_out_of_time:
                break
        if table:
            print_results(session.records())
    session.say_what_is_left(left)
    if session.left_out:
        say(in_one_line(session.left_out))
    if table and request.quick and asked:
        from echobench.analysis.smoke import smoke_answer  # with pandas, as the table

        say(smoke_answer(asked.values(), session.records()), to=sys.stdout)
    return session


def look_ahead(request: Request, command: Sequence[str]) -> Outlook:
    """Plan what is asked for; return what it takes."""
    _, _, outlook = _prepared(request, command)
    return outlook


def _prepared(
    request: Request, command: Sequence[str]
) -> tuple[Session, Iterator[list[Trial]], Outlook]:
    """Return a session, the rounds of its plan but for the first, and what is ahead of it."""
    session = Session(request, command, quick=request.quick, device=request.device)
    rounds = session.rounds(request)
    trials = next(rounds)
    done = session.done(None if request.auto else {trial.key for trial in trials})
    if request.force:
        done.clear()
    return session, rounds, session.outlook(trials, done)


class Session:
    """A results folder, and how trials are run and recorded in it.

    Args:
        options: how trials run.
        command: the command, as the records keep it.
        quick: whether the trials are smoke runs, which are kept apart.
        plugins: loaded ones; those of `options` by default.
        gate: whether trials pass the parity gate.
        device: that they train on.

    Attributes:
        keys: of the trials asked for so far.
        left_out: backends that nobody named and that cannot run here, each with the reason.
        failed: whether a trial failed, trained something else than the reference, or has none to be
            compared with; in this run, or in an earlier one that need not run again.
    """

    def __init__(
        self,
        options: Options,
        command: Sequence[str],
        *,
        quick: bool = False,
        plugins: Plugins | None = None,
        gate: bool = True,
        device: str = "cpu",
    ) -> None:
        self.plugins = plugins or Plugins(options.plugin_files)
        self.executor = make_executor(
            options.executor, self.plugins, address=options.address, jobs=options.jobs
        )
        self.observers = find_observers(options.observers, self.plugins)
        self.store = Store(options.results, quick=quick)
        self.keys: set[str] = set()
        self.left_out: dict[str, str] = {}
        self.failed = False
        self._history = History()
        self._forecasts: list[Forecast] = []
        self._done = 0
        self._unsupported: dict[str, str] = {}
        self._most: tuple[Request, Dealing] | None = None
        self._device = device
        self._budget_s = options.budget_s
        self.matrix = Matrix(
            plugins=self.plugins,
            store=self.store,
            options=JobOptions(
                command=[*command],
                about=facts.host_and_user() if options.tell_host else {},
                watch=options.watch,
                memory_limit=options.memory_limit,
                retries=options.retries,
                save_models=options.save_models,
                smoke=quick,
            ),
            executor=self.executor,
            gate=gate,
            checked=not options.unchecked,
        )

    @property
    def machine(self) -> Machine | None:
        """Return this machine; None where a trial that any machine recorded is done."""
        return facts.machine_of(self._device) if self.executor.local else None

    @property
    def side_by_side(self) -> int:
        """Return how many jobs are under way at once on this machine; 1 if they run elsewhere."""
        return self.executor.side_by_side or 1

    @property
    def is_out_of_time(self) -> bool:
        """Whether the budget is spent."""
        return time.monotonic() > self.matrix.deadline

    @property
    def _left_s(self) -> float | None:
        """Return what is left of the budget, in seconds; None without one."""
        if self._budget_s is None:
            return None
        return max(0.0, min(self._budget_s, self.matrix.deadline - time.monotonic()))

    def rounds(self, request: Request) -> Iterator[list[Trial]]:
        """Yield the plan: once, or up to each look of `auto` until every pair is decided."""
        if not self.executor.local and (request.watch or request.cache):
            raise UsageError(
                f"--executor {self.executor.name}: expected neither --cache nor --watch; compiled "
                "programs stay on their machine, and one trial at a time can be watched"
            )
        request = request.model_copy(update={"side_by_side": self.side_by_side})
        request = self.usable(request)
        if not request.auto:
            self.declare(request)
            yield self._planned(request)
            return
        from echobench.harness import adaptive  # with pandas, which a single plan does not need

        rule = adaptive.rule(adaptive.planned(request, self.plugins))
        last = adaptive.dealing(request, len(rule["looks"]) - 1)
        self._most = request.model_copy(update={"seeds": last.seeds}), last
        self.declare(request, rule)
        records: list[Record] = []
        request = request.model_copy(update={"seeds": rule["looks"][0]})
        for number, trials in enumerate(adaptive.rounds(request, self.plugins, records, say)):
            if number == 0:
                say(f"seeds auto: looks after {', '.join(map(str, rule['looks']))} seeds")
            self.matrix.dealing = adaptive.dealing(request, number)
            yield trials
            records[:] = {record.key: record for record in self.records()}.values()

    def done(self, keys: Collection[str] | None, also: Sequence[str] = ()) -> dict[str, str]:
        """Read the folder for the first time; return the status of each trial that is done.

        Args:
            keys: of the trials asked for; None for all.
            also: further statuses that count as done.
        """
        self._progress_log = ProgressLog(self.store.folder, self.machine, keys)
        return self._progress_log.finished(also, compared=self.matrix.compares, seen=self._see)

    def _see(self, record: Record) -> None:
        self._history.add(record)
        if record.status == "unsupported" and record.reason:
            cell = f"{record.task} {record.backend} {record.engine} {record.division}"
            self._unsupported[cell] = record.reason

    def usable(self, selection: Selected) -> Selected:
        """Return a selection without the backends that cannot run here, unless they are named.

        Elsewhere the machine that a trial comes to says whether it can.

        Raises:
            UsageError: one that is named cannot, or none can.
        """
        if not self.executor.local:
            return selection
        check_backends(selection.backends, self.plugins)
        if not selection.backends:
            self.left_out = left_out_here(self.plugins)
        return selection.model_copy(update={"without": [*self.left_out]})

    @functools.cached_property
    def estimator(self) -> Estimator:
        """Expects of trials what those in this folder took; see `done`."""
        matrix = self.matrix
        return Estimator(
            self._history,
            matrix.references if matrix.gate else None,
            checked=matrix.gate and matrix.checked,
            retries=matrix.options.retries,
        )

    def outlook(self, trials: list[Trial], done: dict[str, str]) -> Outlook:
        """Return what a plan takes, of which some trials are done."""
        most = None
        if self._most is not None:
            selection, dealing = self._most
            most = self._estimate(plan(selection, self.plugins), done, dealing)
        return self._outlook(trials, done, most)

    def _estimate(
        self, planned: Sequence[Trial], done: Collection[str] = (), dealing: Dealing | None = None
    ) -> Estimate:
        """Return what trials take that are not done, dealt over processes as they will be."""
        to_run = [trial for trial in planned if trial.key not in done]
        groups = by_process(to_run, dealing) if dealing else self.matrix.groups(to_run)
        return self.estimator.estimate(
            [[*group.values()] for group in groups],
            side_by_side=self.side_by_side,
            budget_s=self._left_s,
        )

    def _outlook(
        self, trials: list[Trial], done: dict[str, str], most: Estimate | None = None
    ) -> Outlook:
        # References that must be computed take their time, too.
        self.matrix.references.plan(trial for trial in trials if trial.key not in done)
        return Outlook(
            trials=trials,
            done=done,
            estimate=self._estimate(trials, done),
            most=most,
            side_by_side=self.executor.side_by_side,
            executor=self.executor.name,
            budget_s=self._budget_s,
            left_out=self.left_out,
            unsupported=self._unsupported,
        )

    def so_far(self) -> str:
        """Return how many of the trials asked for are recorded, and how to go on."""
        if not self._forecasts:
            return f"finished trials are recorded; {RESUMES}"
        # An interrupt may arrive between a record's line and what is done with it.
        with contextlib.suppress(OSError, EchobenchError):
            self._progress_log.update()
        done = self._done + sum(forecast.done for forecast in self._forecasts)
        total = self._done + sum(forecast.total for forecast in self._forecasts)
        return f"{done:,} of {total:,} trials are recorded; {RESUMES}"

    def prepare(self) -> None:
        """Start the budget; check that records can be written, and the terminal to watch.

        Raises:
            UsageError: a folder cannot be written.
        """
        if self._budget_s is not None:
            self.matrix.deadline = time.monotonic() + self._budget_s
        self.store.check_writable()
        options = self.matrix.options
        if options.save_models is not None:
            Store(options.save_models).check_writable("--save-models")
        if options.watch and not make_console(stderr=True).is_interactive:
            say("--watch: expected a terminal; progress is shown in plain lines instead")
            self.matrix.options = options.model_copy(update={"watch": False})

    def make(self, asked_for: list[Trial], done: Mapping[str, str]) -> list[Trial]:
        """Run trials, shown on stderr and to the observers; each record is stored at once.

        Args:
            asked_for: all of them.
            done: the status of those that need not run, by key.

        Returns:
            Those that were not run.
        """
        from echobench.present import progress

        trials = [trial for trial in asked_for if trial.key not in done]
        if len(trials) < len(asked_for):
            count = len(asked_for) - len(trials)
            are = "is" if count == 1 else "are"
            say(f"{count} of {counted(len(asked_for), 'trial')} {are} done")
            self._count_failed([key for trial in asked_for if (key := trial.key) in done])
            self._say_what_done_trials_lack(
                [trial for trial in asked_for if done.get(trial.key) in COUNTED]
            )
        curves = self.matrix.options.watch
        forecast = Forecast(
            self.estimator,
            self.matrix.groups(trials),
            self.executor.side_by_side,
            self._progress_log.recorded,
        )
        self._done += len(asked_for) - len(trials)
        self._forecasts.append(forecast)
        ahead = self._outlook(trials, {}) if len(trials) > 1 else None
        if ahead is not None:
            say(ahead.total)
        with (
            progress.watcher(forecast, curves=curves) as shown,
            observed(shown, self.observers, self.store.folder) as watcher,
        ):
            finished = {
                record.key: self._progress_log.is_failed(record)
                for record in self.matrix.run(trials, watcher, self._progress_log)
            }
        asked = {trial.key for trial in trials} - finished.keys()
        others = {
            key: failed for key, failed in self._progress_log.update().items() if key in asked
        }
        # Where others ran some, it may have waited for them.
        if ahead is not None and finished and not others:
            say(took_text(ahead.estimate, finished, forecast, self.executor.side_by_side))
        if others:
            were = "was" if len(others) == 1 else "were"
            say(f"{len(others)} of {counted(len(trials), 'trial')} {were} run by other processes")
        missing = asked - others.keys()
        if missing and not self.is_out_of_time:
            were = "was" if len(missing) == 1 else "were"
            say(
                f"{len(missing)} of {counted(len(trials), 'trial')} {were} not run: executor "
                f"{self.executor.name!r} ended without their records; the same command runs them"
            )
            self.failed = True
        self.failed |= any(finished.values()) or any(others.values())
        return [trial for trial in trials if trial.key in missing]

    def say_what_is_left(self, trials: Sequence[Trial]) -> None:
        """Say what the budget left over, and how to go on."""
        if not trials or not self.is_out_of_time:
            return
        groups = [[*group.values()] for group in self.matrix.groups(trials)]
        estimate = self.estimator.estimate(groups, side_by_side=self.side_by_side)
        say(
            f"the budget of {duration(self._budget_s or 0.0)} is spent; left over: "
            f"{total_text(estimate)}; this goes on:",
            shlex.join(self.matrix.options.command),
        )

    def _count_failed(self, done: Sequence[str]) -> None:
        """Count trials that do not run, and whose last record failed, as failed: they are shown."""
        failed = sum(self._progress_log.earlier.get(key, False) for key in done)
        if failed:
            say(f"{failed} of these failed, or are contradicted; --force runs them again")
            self.failed = True

    def _say_what_done_trials_lack(self, done: list[Trial]) -> None:
        """Say which options act only while a trial runs, and so do nothing for these."""
        options = self.matrix.options
        unsaved = [t for t in done if (path := options.model_path(t)) and not path.exists()]
        if unsaved:
            say(
                f"--save-models: the networks of {len(unsaved)} of these are not in "
                f"{options.save_models}, since a network is saved as its trial ends; --force "
                "trains them again"
            )
        asked = {
            "--observe": bool(self.observers),
            "--watch": options.watch,
            "--memory-limit": options.memory_limit is not None,
            "--tell-host": bool(options.about.keys() & {"host", "user"}),
        }
        names = [name for name, is_asked in asked.items() if is_asked]
        if names and done:
            say(
                f"{', '.join(names)}: without effect on these, which do not run; --force runs them "
                "again"
            )

    def records(self) -> Iterator[Record]:
        """Yield the records of the trials asked for, oldest first, read back from the folder.

        What other processes ran is there too, and no record need be kept while trials run.
        """
        return self.store.of(self.machine, self.keys)

    def _planned(self, request: Request) -> list[Trial]:
        trials = plan(request, self.plugins)
        if any(trial.division not in request.divisions for trial in trials):
            say("a recipe differs from the closed one: recorded as open")
        return trials

    def declare(self, selection: Selection, rule: dict[str, Any] | None = None) -> None:
        """Have the records say which seeds of each cell were declared before they ran.

        Args:
            selection: the seeds, and how often each is run.
            rule: by which the seeds are chosen while trials run, if they are.
        """
        self.check_threads(selection)
        self.matrix.dealing = Dealing.of(selection.first_seed, selection.seeds, selection.forks)
        fixed = {"rule": "fixed", "seeds": selection.seeds}
        declared = {"first": selection.first_seed, "repeats": selection.repeats}
        options = self.matrix.options
        about = {**options.about, "seeds": {**(rule or fixed), **declared}}
        self.matrix.options = options.model_copy(update={"about": about})

    def check_threads(self, selection: Selection) -> None:
        """Raise UsageError if jobs run here, and there is not what each must have for itself.

        Elsewhere the machine that a trial comes to looks for cores.
        """
        jobs = self.side_by_side
        if self.executor.local:
            check_threads(selection.threads, selection.smt, jobs)
        if jobs > 1 and selection.device != "cpu":
            raise UsageError(
                f"--jobs: expected 1 with --device {selection.device}; received {jobs}; jobs side "
                "by side have cores of their own, and would share its GPUs"
            )
        if jobs > 1 and self.matrix.options.watch:
            raise UsageError(
                f"--jobs: expected 1 with --watch; received {jobs}; one trial at a time can be "
                "watched"
            )


def print_results(records: Iterable[Record]) -> None:
    """Print the table of records, and an echo of each cell's first seed but of smoke runs.

    Below it stands what `echobench table` says of conditions and times.
    """
    from echobench.analysis import frame
    from echobench.analysis.footnotes import conditions, of_times
    from echobench.analysis.table import grouped
    from echobench.present import table as tables
    from echobench.present.terminal import line_of

    console = make_console()
    echoes: dict[str, tuple[str, list[Sample]]] = {}

    def with_echoes() -> Iterator[Record]:
        for record in records:
            if record.seed == 0 and not record.trial.quick:
                name = f"{record.task} {record.backend} {record.engine} {record.division}"
                echoes[record.key] = (name, record.samples[:3])
            yield record

    flat = frame.latest(frame.frame(with_echoes()))
    if len(flat):
        groups = grouped(flat)
        console.print(tables.terminal(groups, console.width))
        notes = [*of_times(flat), *conditions(flat, tables.shown(groups))]
        for line in [*tables.legend(groups), *notes]:
            console.print(line_of(line, "dim"))
    for name, samples in echoes.values():
        if samples:
            say("", name, to=sys.stdout)
        for sample in samples:
            say(f"Expected: {sample.expected} Predicted: {sample.predicted}", to=sys.stdout)
