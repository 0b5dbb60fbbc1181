"""What an executor plugin provides: where trials run, one after the other or many at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from echobench import interrupts

if TYPE_CHECKING:
    from pathlib import Path

    from echobench.harness.assignments import Assignment
    from echobench.trial.messages import Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial

POLL_S = 0.2
"""Seconds between two looks at what runs elsewhere."""
MOST_LOSSES = 3
"""How often a trial that got lost with its node is begun again."""
DEFAULT = "local"
"""The executor's name where none is asked for."""
ENDED = object()


@dataclass(frozen=True)
class Site:
    """What an executor is told of the run.

    Attributes:
        perform: runs an assignment on this machine, and returns a record of each trial.
        tell: called with a trial's progress.
        folder: the results folder, for what the executor itself has to keep.
    """

    perform: Callable[[Assignment], list[Record]]
    tell: Callable[[Trial, Progress], None]
    folder: Path


class Executor(BaseModel, ABC):
    """Where trials run. Its fields are its parameters (`--executor name[field=value]`).

    It changes neither what a worker does nor what a record means. Asked for a next assignment
    only when it can begin it, it gives records back as they come, in any order.

    Attributes:
        name: what `--executor` takes.
        requires: modules that must be installed.
        extra: echobench's extra that installs them, if any.
        local: whether trials run on this machine alone: else what any machine has recorded
            need not run again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    local: ClassVar[bool] = False

    @abstractmethod
    def run(
        self, todo: Iterator[Assignment | None], site: Site
    ) -> Generator[tuple[Assignment, list[Record]]]:
        """Run assignments; yield each with a record of each of its trials, as they come.

        Args:
            todo: yields what is next; None where there is nothing just now, but may be later.
            site: what else there is to know.

        Raises:
            ExecutorError: it cannot be reached, or cannot run this.
        """


class Lost(Exception):  # noqa: N818 # it is no error of the trial's
    """A trial went with the machine it ran on; the message says how."""


class RemoteExecutor(Executor):
    """An executor that hands assignments over, and asks now and then how they stand.

    A subclass says how to hand over, to ask and to take back; what gets lost is begun again,
    and the record says so.
    """

    @abstractmethod
    def connect(self, trial: Trial, site: Site) -> AbstractContextManager[Connection]:
        """Reach what runs the trials, for as long as the context lasts.

        Args:
            trial: the first, which says how much each needs.
            site: of the run.

        Raises:
            ExecutorError: it cannot be reached, or no machine of it has so much.
        """

    def run(
        self, todo: Iterator[Assignment | None], site: Site
    ) -> Generator[tuple[Assignment, list[Record]]]:
        """Keep as many assignments under way as there is room for."""
        from echobench.harness.assignments import Assignment

        first = next(todo, None)
        if first is None:
            return
        with self.connect(first.trial, site) as connection:
            interrupts.catch()  # what is connected to may have handlers of its own
            flights: dict[Any, Flight] = {}

            def begin(flight: Flight) -> None:
                flights[connection.begin(flight.assignment)] = flight

            try:
                begin(Flight(first))
                ended = False
                while flights or not ended:
                    while not ended and len(flights) < connection.room():
                        following = next(todo, ENDED)
                        ended = following is ENDED
                        if not isinstance(following, Assignment):
                            break
                        begin(Flight(following))
                    for handle in connection.ended(list(flights), POLL_S):
                        flight = flights.pop(handle)
                        records = flight.landed(connection, handle)
                        if records is None:
                            begin(flight)
                        else:
                            yield flight.assignment, records
            finally:
                for handle in flights:
                    connection.cancel(handle)


class Connection(ABC):
    """What runs trials elsewhere, while it is reached."""

    @abstractmethod
    def room(self) -> int:
        """Return how many assignments may be under way, those that still wait included."""

    @abstractmethod
    def begin(self, assignment: Assignment) -> Any:
        """Hand an assignment over; return what stands for it."""

    @abstractmethod
    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        """Return those that have ended, after so many seconds at most."""

    @abstractmethod
    def outcome(self, handle: Any) -> str:
        """Return the outcome of one that has ended (`assignments.perform_elsewhere`).

        Raises:
            Lost: it went with its machine.
            ExecutorError: it cannot be run there at all.
        """

    @abstractmethod
    def cancel(self, handle: Any) -> None:
        """Have one end, and all that it started."""


@dataclass
class Flight:
    """An assignment that is under way elsewhere.

    Attributes:
        assignment: what.
        losses: how it got lost, each time.
    """

    assignment: Assignment
    losses: list[str] = field(default_factory=list)

    def landed(self, connection: Connection, handle: Any) -> list[Record] | None:
        """Return its records, which say how often it got lost; None where it is to begin again."""
        from echobench.harness.assignments import taken

        try:
            told = connection.outcome(handle)
        except Lost as lost:
            self.losses.append(str(lost))
            return None if len(self.losses) <= MOST_LOSSES else self._given_up()
        records = taken(self.assignment, told)
        for record in records if self.losses else []:
            record.provenance["executor"]["lost"] = self.losses
        return records

    def _given_up(self) -> list[Record]:
        """Return the records of trials that got lost each time."""
        from echobench.harness import validation

        came = {
            "status": "failed",
            "reason": f"lost {len(self.losses)} times with its machine: {self.losses[-1]}",
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "provenance": {
                "command": self.assignment.command,
                "executor": {"lost": self.losses},
                **self.assignment.about,
            },
        }
        return [validation.record(trial, dict(came)) for trial in self.assignment.trials]
