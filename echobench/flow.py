"""From what is asked for to records and their table: plan, run, record, table."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from echobench import interrupts
from echobench.errors import UnknownNameError, UsageError
from echobench.harness.matrix import Matrix
from echobench.harness.observing import observed
from echobench.harness.plan import Selection, plan
from echobench.machine import facts
from echobench.machine.cores import check_threads
from echobench.output import make_console
from echobench.plugin.interfaces import LOCAL, Executor, Observer
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.progress_log import ProgressLog
from echobench.text import say
from echobench.trial.job import JobOptions
from echobench.trial.record import COUNTED, Machine, Record, latest
from echobench.trial.selectors import explained, parsed, why_incomplete
from echobench.trial.trial import Trial

if TYPE_CHECKING:
    from echobench.trial.record import Sample

RESUMES = "finished trials are recorded; the same command resumes"


class Options(BaseModel):
    """How trials are run and recorded, whichever they are.

    Attributes:
        results: folder of the records.
        plugin_files: plugins that are not installed.
        executor: where trials run: NAME or NAME[key=value,...].
        address: of the executor, if it needs one.
        observers: names of observers to call for every trial.
        watch: whether to draw the learning on a terminal.
        save_models: folder for the trained networks, if wanted.
        tell_host: whether records keep the names of host and user.
        memory_limit: bytes that a worker and its child processes may hold.
        retries: how often a failed trial is run again.
        budget_s: seconds after which no trial is started.
        unchecked: whether certificates stay unjudged, and fingerprints uncompared.
    """

    model_config = ConfigDict(extra="forbid")

    results: Path = Path("results")
    plugin_files: list[Path] = []
    executor: str = LOCAL
    address: str | None = None
    observers: list[str] = []
    watch: bool = False
    save_models: Path | None = None
    tell_host: bool = False
    memory_limit: int | None = None
    retries: int = 0
    budget_s: float | None = None
    unchecked: bool = False


class Request(Selection, Options):
    """What `echobench run` is asked for: which trials, and how they run.

    Attributes:
        auto: add seeds until each pair of cells is decided, whatever `seeds` says.
        force: run trials again that are done.
    """

    auto: bool = False
    force: bool = False


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
    request: Request, command: Sequence[str], *, dry_run: bool = False, table: bool = False
) -> Session:
    """Plan, run and record what is asked for; print the table, or the plan alone, if wanted."""
    session = Session(request, command, quick=request.quick, device=request.device)
    rounds = session.rounds(request)
    trials = next(rounds)
    done = session.done(None if request.auto else {trial.key for trial in trials})
    if request.force:
        done.clear()
    if dry_run:
        for trial in trials:
            say(f"{'done' if trial.key in done else 'run '}  {trial.name}", to=sys.stdout)
        return session
    session.prepare()
    with interrupts.on_interrupt_say(RESUMES):
        for planned in itertools.chain([trials], rounds):
            new = {key: trial for trial in planned if (key := trial.key) not in session.keys}
            session.make([*new.values()], done)
            session.keys |= new.keys()
            if session.is_out_of_time:
                break
        if table:
            print_results(session.records())
    return session


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
        failed: whether a trial failed, or trained something else than the reference, in this run or
            in an earlier one that need not run again.
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
        self.executor = make_executor(options.executor, options.address, self.plugins)
        self.observers = find_observers(options.observers, self.plugins)
        self.store = Store(options.results, quick=quick)
        self.keys: set[str] = set()
        self.failed = False
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
    def is_out_of_time(self) -> bool:
        """Whether the budget is spent."""
        return time.monotonic() > self.matrix.deadline

    def rounds(self, request: Request) -> Iterator[list[Trial]]:
        """Yield the plan: once, or up to each look of `auto` until every pair is decided."""
        if not self.executor.local and (request.watch or request.cache):
            raise UsageError(
                f"--executor {self.executor.name}: expected neither --cache nor --watch; compiled "
                "programs stay on their machine, and one trial at a time can be watched"
            )
        if not request.auto:
            self.declare(request)
            yield self._planned(request)
            return
        from echobench.harness import adaptive  # with pandas, which a single plan does not need

        rule = adaptive.rule(adaptive.planned(request, self.plugins))
        self.declare(request, rule)
        records: list[Record] = []
        request = request.model_copy(update={"seeds": rule["looks"][0]})
        for number, trials in enumerate(adaptive.rounds(request, self.plugins, records, say)):
            if number == 0:
                say(f"seeds auto: looks after {', '.join(map(str, rule['looks']))} seeds")
            yield trials
            records[:] = {record.key: record for record in self.records()}.values()

    def done(self, keys: Collection[str] | None, also: Sequence[str] = ()) -> dict[str, str]:
        """Read the folder for the first time; return the status of each trial that is done.

        Args:
            keys: of the trials asked for; None for all.
            also: further statuses that count as done.
        """
        self._progress_log = ProgressLog(self.store.folder, self.machine, keys)
        return self._progress_log.finished(also, compared=self.matrix.compares)

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

    def make(self, asked_for: list[Trial], done: Mapping[str, str]) -> None:
        """Run trials, shown on stderr and to the observers; each record is stored at once.

        Args:
            asked_for: all of them.
            done: the status of those that need not run, by key.
        """
        from echobench.present import progress

        trials = [trial for trial in asked_for if trial.key not in done]
        if len(trials) < len(asked_for):
            say(f"{len(asked_for) - len(trials)} of {len(asked_for)} trials are done")
            self._count_failed([key for trial in asked_for if (key := trial.key) in done])
            self._say_what_done_trials_lack(
                [trial for trial in asked_for if done.get(trial.key) in COUNTED]
            )
        curves = self.matrix.options.watch
        with (
            progress.watcher(len(trials), curves=curves) as shown,
            observed(shown, self.observers, self.store.folder) as watcher,
        ):
            finished = {
                record.key: record.failed
                for record in self.matrix.run(trials, watcher, self._progress_log)
            }
        asked = {trial.key for trial in trials} - finished.keys()
        others = {
            key: failed for key, failed in self._progress_log.update().items() if key in asked
        }
        if others:
            say(f"{len(others)} of {len(trials)} trials were run by other processes")
        missing = asked - others.keys()
        if missing and not self.is_out_of_time:
            say(
                f"{len(missing)} of {len(trials)} trials were not run: executor "
                f"{self.executor.name!r} ended without their records; the same command runs them"
            )
            self.failed = True
        self.failed |= any(finished.values()) or any(others.values())

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
        fixed = {"rule": "fixed", "seeds": selection.seeds}
        declared = {"first": selection.first_seed, "repeats": selection.repeats}
        options = self.matrix.options
        about = {**options.about, "seeds": {**(rule or fixed), **declared}}
        self.matrix.options = options.model_copy(update={"about": about})

    def check_threads(self, selection: Selection) -> None:
        """Raise UsageError if trials run here, and there is not a core for each thread.

        Elsewhere the machine that a trial comes to looks for them.
        """
        if self.executor.local:
            check_threads(selection.threads, selection.smt)


def print_results(records: Iterable[Record]) -> None:
    """Print the table of records, and an echo of each cell's first seed."""
    from echobench.analysis import frame
    from echobench.analysis.table import grouped
    from echobench.present import table as tables
    from echobench.present.terminal import line_of

    console = make_console()
    echoes: dict[str, tuple[str, list[Sample]]] = {}

    def with_echoes() -> Iterator[Record]:
        for record in records:
            if record.seed == 0:
                name = f"{record.task} {record.backend} {record.engine} {record.division}"
                echoes[record.key] = (name, record.samples[:3])
            yield record

    flat = frame.latest(frame.frame(with_echoes()))
    if len(flat):
        groups = grouped(flat)
        console.print(tables.terminal(groups, console.width))
        for line in tables.legend(groups):
            console.print(line_of(line, "dim"))
    for name, samples in echoes.values():
        if samples:
            say("", name, to=sys.stdout)
        for sample in samples:
            say(f"Expected: {sample.expected} Predicted: {sample.predicted}", to=sys.stdout)


def make_executor(selector: str, address: str | None, plugins: Plugins) -> Executor:
    """Return the executor of a selector.

    Raises:
        UsageError: no such executor or parameter, or a module that it requires is missing.
    """
    name, values = parsed("--executor", selector)
    provided = plugins.executors[name]
    kind = provided.value
    if address is not None:
        if "address" not in kind.model_fields:
            raise UsageError(f"--address: executor {name!r} is reached without one")
        values["address"] = address
    for key in values:
        if key not in kind.model_fields:
            raise UnknownNameError(f"parameter of executor {name!r}:", key, kind.model_fields)
    missing = provided.why_missing()
    if missing is not None:
        raise UsageError(f"--executor {name}: {missing}")
    incomplete = why_incomplete("--executor", name, kind, values)
    if incomplete is not None:
        raise UsageError(f"executor {name} {incomplete}{provided.source.option}")
    try:
        return provided.call(lambda one: one.model_validate(values))
    except ValidationError as error:
        raise UsageError(f"--executor {selector}: {explained(error)}") from error


def find_observers(names: Sequence[str], plugins: Plugins) -> list[Observer]:
    """Return the observers of these names.

    Raises:
        UsageError: no such observer, or a module that it requires is missing.
    """
    observers = {name: plugins.observers[name] for name in names}
    for name, observer in observers.items():
        missing = observer.why_missing()
        if missing is not None:
            raise UsageError(f"--observe {name}: {missing}")
    return [observer.value for observer in observers.values()]
