"""Call an executor's code, which is a plugin's: each fault of it ends the run with one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, TypeVar

from echobench import interrupts
from echobench.errors import EchobenchError, PluginError
from echobench.plugin.failures import described, located, place_of
from echobench.plugin.interfaces import Connection, Executor, Site
from echobench.text import say
from echobench.trial.job import Job
from echobench.trial.record import Record

R = TypeVar("R")


@contextmanager
def connected(executor: Executor, job: Job, site: Site) -> Iterator[Contained]:
    """Connect to an executor; what the block raises is never lost in its code.

    Raises:
        PluginError: the executor's code raises something, or gives something else than its
            interface asks for.
        EchobenchError: what it raises on purpose.
    """
    code = _Code(executor)
    inner = Site(code.ours(site.run_here), code.ours(site.progressed), site.folder)
    context = code.call(lambda: executor.connect(job, inner))
    if not isinstance(context, AbstractContextManager):
        code.fail(executor, "connect", "a context manager, as @contextmanager makes one", context)
    connection = code.call(context.__enter__)
    try:
        if not isinstance(connection, Connection):
            code.fail(executor, "connect", "a Connection in its context", connection)
        yield Contained(connection, code)
    except BaseException as error:
        try:
            context.__exit__(type(error), error, error.__traceback__)
        except BaseException as second:
            if second is not error:
                interrupts.pass_on(second)
                say(code.line(second))
        raise  # whatever the executor makes of it
    code.call(lambda: context.__exit__(None, None, None))


class Contained:
    """A connection whose answers are what its interface asks for."""

    def __init__(self, connection: Connection, code: _Code) -> None:
        self._connection = connection
        self._code = code
        self._jobs: dict[Any, Job] = {}
        """Jobs under way, by handle."""

    def room(self) -> int:
        """Return how many jobs may be under way."""
        room = self._code.call(self._connection.room)
        if not isinstance(room, int):
            self._fail("room", "a number of jobs", room)
        return room

    def start(self, job: Job) -> Any:
        """Start a job; return its handle, which no other job has."""
        handle = self._code.call(lambda: self._connection.start(job))
        try:
            taken = handle in self._jobs
        except TypeError:
            self._fail("start", "a hashable handle", handle)
        if taken:
            self._fail("start", "a handle of its own for each job under way", handle)
        self._jobs[handle] = job
        return handle

    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        """Return handles of jobs that have ended."""
        ended = self._code.call(lambda: self._connection.ended([*handles], seconds))
        if not isinstance(ended, Iterable):
            self._fail("ended", "a list of handles", ended)
        left, listed = set(handles), self._code.call(lambda: list(ended))
        for handle in listed:
            if handle not in left:
                self._fail("ended", "handles of jobs under way, each once", handle)
            left.remove(handle)
        return listed

    def records(self, handle: Any) -> list[Record]:
        """Return the records of a job that has ended, which are those of its trials."""
        job = self._jobs.pop(handle)
        records = self._code.call(lambda: self._connection.records(handle))
        if not isinstance(records, list | tuple):
            self._fail("records", "a list of records", records)
        names = [f"one of {t.name}" for t in job.trials]
        if len(records) != len(names):
            expected = f"{len(names)} record{'s' * (len(names) > 1)}, {', '.join(names)}"
            self._fail("records", expected, f"{len(records)} records", is_words=True)
        for record, trial, name in zip(records, job.trials, names, strict=True):
            if not isinstance(record, Record):
                self._fail("records", f"a record, {name}", record)
            if record.key != trial.key:
                other = f"one of {record.planned_cell}, seed {record.seed}"
                self._fail(
                    "records", f"the record of each trial, here {name}", other, is_words=True
                )
        return [*records]

    def cancel(self, handle: Any) -> None:
        """End a job; what the executor's code raises is printed, since others are to end too."""
        try:
            self._connection.cancel(handle)
        except BaseException as error:
            interrupts.pass_on(error)
            say(self._code.line(error))

    def _fail(
        self, method: str, expected: str, received: object, *, is_words: bool = False
    ) -> NoReturn:
        self._code.fail(self._connection, method, expected, received, is_words=is_words)


class _Code:
    """An executor's code, told from ours that it calls."""

    def __init__(self, executor: Executor) -> None:
        self._name = f"executor {type(executor).name!r}"
        self._executor = executor
        self._ours: list[BaseException] = []

    def ours(self, function: Callable[..., R]) -> Callable[..., R]:
        """Return a function of ours for the executor to call: what it raises is not its fault."""

        def called(*arguments: Any) -> R:
            try:
                return function(*arguments)
            except BaseException as error:
                self._ours.append(error)
                raise

        return called

    def call(self, function: Callable[[], R]) -> R:
        """Return what the executor's code returns."""
        try:
            return function()
        except BaseException as error:
            interrupts.pass_on(error)
            if isinstance(error, EchobenchError) or any(error is one for one in self._ours):
                raise
            raise PluginError(
                f"{self.line(error)}; earlier records are kept, and the same command resumes"
            ) from error

    def line(self, error: BaseException) -> str:
        """Return the line that says what the executor's code raised."""
        return f"{self._name}: {located(error, type(self._executor).__module__, self._executor)}"

    def fail(
        self, owner: object, method: str, expected: str, received: object, *, is_words: bool = False
    ) -> NoReturn:
        """Raise PluginError for what a method gave in place of what is expected."""
        given = received if is_words else described(received)
        raise PluginError(
            f"{self._name}: {place_of(owner, method)}expected `{method}` to give {expected}; "
            f"received {given}; earlier records are kept, and the same command resumes"
        )
