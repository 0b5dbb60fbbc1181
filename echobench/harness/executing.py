"""Call an executor's code, which is a plugin's: each fault of it ends the run with one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import msgspec

from echobench import interrupts
from echobench.errors import EchobenchError, PluginError
from echobench.harness import validation
from echobench.plugin.failures import described, located, one_line, place_of
from echobench.plugin.interfaces import Connection, Executor, Site
from echobench.store import referee
from echobench.text import say
from echobench.trial.job import Job, Progress
from echobench.trial.record import SCHEMA_VERSION, Record
from echobench.trial.trial import Trial

R = TypeVar("R")
MOST_NAMED = 4
"""Fields that a message names of those that differ."""
RECIPE = "trial.recipe"


@contextmanager
def connected(executor: Executor, job: Job, site: Site) -> Iterator[Contained]:
    """Connect to an executor; what the block raises is never lost in its code.

    Raises:
        PluginError: the executor's code raises something, or gives something else than its
            interface asks for.
        EchobenchError: what it raises on purpose.
    """
    code = _Code(executor)
    inner = Site(
        code.ours("run_here", site.run_here, Job),
        code.ours("progressed", site.progressed, Trial, Progress),
        site.folder,
    )
    context = code.call(executor, "connect", job, inner)
    if not isinstance(context, AbstractContextManager):
        code.fail(executor, "connect", "a context manager, as @contextmanager makes one", context)
    connection = code.run(executor, "connect", context.__enter__)
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
                say(code.line(second, executor, "connect"))
        raise  # whatever the executor makes of it
    code.run(executor, "connect", lambda: context.__exit__(None, None, None))


class Contained:
    """A connection whose answers are what its interface asks for; jobs go by a number."""

    def __init__(self, connection: Connection, code: _Code) -> None:
        self._connection = connection
        self._code = code
        self._jobs: dict[int, tuple[Any, Job]] = {}
        """Handle and job of those under way, by number."""
        self._started = 0

    def room(self) -> int:
        """Return how many jobs may be under way."""
        room = self._call("room")
        if not isinstance(room, int):
            self._fail("room", "a number of jobs", room)
        return room

    def start(self, job: Job) -> int:
        """Start a job; return its number."""
        handle = self._call("start", job)
        if not self._run("start", lambda: _is_hashable(handle)):
            self._fail("start", "a hashable handle", handle)
        if self._run("start", lambda: handle in self._numbers()):
            self._fail("start", "a handle of its own for each job under way", handle)
        self._started += 1
        self._jobs[self._started] = handle, job
        return self._started

    def ended(self, seconds: float) -> list[int]:
        """Return the numbers of jobs that have ended."""
        left = self._run("ended", self._numbers)
        ended = self._call("ended", [handle for handle, _ in self._jobs.values()], seconds)
        if not isinstance(ended, Iterable):
            self._fail("ended", "a list of handles", ended)
        numbers = []
        for handle in self._run("ended", lambda: list(ended)):
            known = partial(lambda one: _is_hashable(one) and one in left, handle)
            if not self._run("ended", known):
                self._fail("ended", "handles of jobs under way, each once", handle)
            numbers.append(self._run("ended", partial(left.pop, handle)))
        return numbers

    def records(self, number: int) -> list[Record]:
        """Return the records of a job that has ended: of its trials, or of the first in turn.

        There are none where it came to its turn after the budget was spent.
        """
        handle, job = self._jobs.pop(number)
        records = self._call("records", handle)
        if not isinstance(records, list | tuple):
            self._fail("records", "a list of records", records)
        names = [f"one of {t.name}" for t in job.trials]
        fewest = 1 if job.in_turn else len(names)
        is_late = not records and job.begin_by is not None
        if not is_late and not fewest <= len(records) <= len(names):
            least = "1 to " if fewest < len(names) else ""
            expected = f"{least}{len(names)} record{'s' * (len(names) > 1)}, {', '.join(names)}"
            self._fail("records", expected, f"{len(records)} records", is_words=True)
        return [self._checked(*pair) for pair in zip(records, job.trials, strict=False)]

    def cancel(self, number: int) -> None:
        """End a job; what the executor's code raises is printed, since others are to end too."""
        handle, _ = self._jobs.pop(number)
        try:
            self._connection.cancel(handle)
        except BaseException as error:
            interrupts.pass_on(error)
            say(self._code.line(error, self._connection, "cancel"))

    def _checked(self, record: object, trial: Trial) -> Record:
        """Return a record of a trial as it will be read back, once it is one."""
        expected = f"the record of each trial, here one of {trial.name}"
        if not isinstance(record, Record):
            self._fail("records", expected, record)
        try:
            read = Record.from_dict(Record.to_dict(record))
            read.to_json()
        except BaseException as error:  # its fields may be of any kind
            interrupts.pass_on(error)
            why = f"one that no results folder takes: {one_line(error)}"
            self._fail("records", expected, why, is_words=True)
        known = {**validation.known_of(trial), "schema_version": SCHEMA_VERSION}
        fields, known = _flat({name: getattr(read, name) for name in known}), _flat(known)
        differing = {name: fields.get(name) for name in known if fields.get(name) != known[name]}
        if differing:
            differences = [f"{name}={value!r}" for name, value in differing.items()]
            given = f"one with {', '.join(differences[:MOST_NAMED])}"
            self._fail("records", expected, given, is_words=True)
        wrong = referee.why_impossible(read)
        if wrong is not None:
            self._fail("records", expected, f"one that cannot be true: {wrong}", is_words=True)
        return read

    def _numbers(self) -> dict[Any, int]:
        return {handle: number for number, (handle, _) in self._jobs.items()}

    def _call(self, method: str, *arguments: object) -> Any:
        return self._code.call(self._connection, method, *arguments)

    def _run(self, method: str, function: Callable[[], R]) -> R:
        return self._code.run(self._connection, method, function)

    def _fail(
        self, method: str, expected: str, received: object, *, is_words: bool = False
    ) -> NoReturn:
        self._code.fail(self._connection, method, expected, received, is_words=is_words)


def _is_hashable(handle: object) -> bool:
    try:
        hash(handle)
    except TypeError:
        return False
    return True


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record, those of its trial beside the others."""
    trial = msgspec.to_builtins(fields["trial"])
    recipe = {f"recipe.{name}": value for name, value in trial["recipe"].items()}
    within = {f"trial.{name}": value for name, value in {**trial, **recipe}.items()}
    return {name: v for name, v in {**fields, **within}.items() if name not in {"trial", RECIPE}}


class _Code:
    """An executor's code, as distinct from ours that it calls."""

    def __init__(self, executor: Executor) -> None:
        self._name = f"executor {type(executor).name!r}"
        self._module = type(executor).__module__
        self._ours: list[BaseException] = []

    def ours(self, name: str, function: Callable[..., R], *kinds: type) -> Callable[..., R]:
        """Return a function of ours for the executor to call: what it raises is not its fault.

        Args:
            name: of the function.
            function: ours.
            kinds: what its arguments are; the executor's fault is to give others.
        """

        def called(*arguments: Any) -> R:
            if len(arguments) != len(kinds) or not all(map(isinstance, arguments, kinds)):
                expected = ", ".join(kind.__name__ for kind in kinds)
                given = ", ".join(map(described, arguments)) or "nothing"
                raise TypeError(f"expected `{name}` to be given {expected}; received {given}")
            try:
                return function(*arguments)
            except BaseException as error:
                self._ours.append(error)
                raise

        return called

    def call(self, owner: object, method: str, *arguments: object) -> Any:
        """Return what a method of the executor, or of its connection, returns."""
        return self.run(owner, method, lambda: getattr(owner, method)(*arguments))

    def run(self, owner: object, method: str, function: Callable[[], R]) -> R:
        """Return what a function returns that runs the executor's code, for a method of it."""
        try:
            with interrupts.not_swallowed():
                return function()
        except BaseException as error:
            interrupts.pass_on(error)
            if isinstance(error, EchobenchError) or any(error is one for one in self._ours):
                raise
            raise PluginError(
                f"{self.line(error, owner, method)}; earlier records are kept, and the same "
                "command resumes"
            ) from error

    def line(self, error: BaseException, owner: object, method: str) -> str:
        """Return the line that says what the executor's code raised."""
        return f"{self._name}: {located(error, self._module, owner, method)}"

    def fail(
        self, owner: object, method: str, expected: str, received: object, *, is_words: bool = False
    ) -> NoReturn:
        """Raise PluginError for what a method gave in place of what is expected."""
        given = received if is_words else described(received)
        raise PluginError(
            f"{self._name}: {place_of(owner, method)}expected `{method}` to give {expected}; "
            f"received {given}; earlier records are kept, and the same command resumes"
        )
