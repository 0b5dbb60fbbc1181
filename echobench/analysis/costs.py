"""What recorded trials took, kept so that the cost of others like them can be foreseen."""

from __future__ import annotations

import statistics
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from echobench.trial.record import COUNTED, Rates, Record

if TYPE_CHECKING:
    from echobench.trial.cell import StoredTrial
    from echobench.trial.trial import Trial

NEWEST = 40
"""Trials of a kind that are remembered: the newest, since versions and machines change."""
AGAIN = ("first_update", "other")
"""Phases that a trial has of its own even where an earlier one of its process has compiled."""
START = ("import", "build", "compile", *AGAIN)
"""Phases until a process trains its first trial, and what is no training."""
TRAINING = ("train", "eval", "sustain")
"""Phases that last as long as there are epochs."""
DECIDING = ("cache", "replicates")
"""Fields of a place by which costs are told apart at each level, for those who ask for it: programs
that are kept decide how long a start is, replicates how long an epoch is."""
ASIDE = ("reference", "rehearsal", "judge", "other")
"""What a job spends beside its trials (`Provenance.job`, each with `_s`)."""
SHIPPED = "medians.json"


class Place(NamedTuple):
    """All of a trial that decides what it costs, but for its budget."""

    label: str
    division: str
    backend: str
    engine: str
    device: str
    threads: int
    devices: int
    replicates: int
    cache: bool

    @classmethod
    def of(cls, trial: Trial | StoredTrial) -> Place:
        """Return a trial's place."""
        return cls(*(getattr(trial, name) for name in cls._fields))

    def levels(self) -> tuple[tuple[str, ...] | Place, ...]:
        """Return what it shares with others, from the most to the least: see `Level`."""
        cell = (self.label, self.division, self.backend, self.engine, self.device)
        return self, cell, cell[:2], (self.label, *cell[2:]), cell[2:]


class Level:
    """Numbers of what two trials share (`Place.levels`)."""

    SAME, CELL, TASK, PROGRAM, BACKEND = range(5)


class Cost(Struct, kw_only=True, frozen=True):
    """What a trial took.

    Attributes:
        place: of the trial.
        start_s: until its program was ready; None where an earlier trial of its process had
            prepared it.
        train_s: of training and evaluating.
        epochs, max_epochs, timeout_s, status: how far it came, and what ended it.
    """

    place: Place
    start_s: float | None
    train_s: float
    epochs: int
    max_epochs: int
    timeout_s: float
    status: str

    @classmethod
    def of(cls, record: Record) -> Cost | None:
        """Return what a record's trial took; None where it does not say it."""
        seconds = _seconds(record)
        if record.status not in COUNTED or not record.epochs or not seconds.get("train"):
            return None
        first = "import" in seconds
        spent = [*TRAINING, *(() if first else AGAIN)]
        return cls(
            place=Place.of(record.trial)._replace(label=record.task),
            start_s=sum(seconds.get(name, 0.0) for name in START) if first else None,
            train_s=sum(seconds.get(name, 0.0) for name in spent),
            epochs=record.epochs,
            max_epochs=record.trial.max_epochs,
            timeout_s=record.trial.timeout_s,
            status=record.status,
        )

    def epochs_of(self, trial: Trial) -> int | None:
        """Return how many epochs a trial like this one takes; None where this one ended sooner."""
        if self.status == "reached" or self.epochs >= trial.max_epochs:
            return min(self.epochs, trial.max_epochs)
        if self.status == "missed":
            return self.epochs if self.max_epochs >= trial.max_epochs else None
        return self.epochs if self.timeout_s >= trial.timeout_s else None


def _seconds(record: Record) -> dict[str, float]:
    """Return the seconds of each phase that was measured; of replicates, those of all together."""
    measured: dict[str, Any] = {name: getattr(record, f"{name}_s") for name in (*START, *TRAINING)}
    if record.is_replicate:
        together = record.execution.get("seconds")  # a worker's own word: it may be anything
        measured = together if isinstance(together, dict) else {}
    return {name: float(s) for name, s in measured.items() if isinstance(s, int | float) and s >= 0}


class Aside(Struct, kw_only=True, frozen=True):
    """What a job took beside its trials, all in seconds, and of how many trials it was."""

    place: Place
    trials: int
    seconds: dict[str, float]

    @classmethod
    def of(cls, record: Record) -> Aside | None:
        """Return what the job of a record took; None in the records of its later trials."""
        job = record.provenance.job
        if not job:
            return None
        return cls(
            place=Place.of(record.trial)._replace(label=record.task),
            trials=int(job.get("trials", 1)),
            seconds={name: job[f"{name}_s"] for name in ASIDE if f"{name}_s" in job},
        )


class History:
    """What trials took, by what they share; of each kind the newest.

    Attributes:
        rates: of the machine, as the last record has them; None if no record has.
    """

    def __init__(self, costs: Iterable[Cost] = (), asides: Iterable[Aside] = ()) -> None:
        self.rates: Rates | None = None
        self._costs: dict[Hashable, deque[Cost]] = defaultdict(lambda: deque(maxlen=NEWEST))
        self._asides: dict[Hashable, deque[Aside]] = defaultdict(lambda: deque(maxlen=NEWEST))
        for cost in costs:
            self._add(cost)
        for aside in asides:
            self._add_aside(aside)

    def add(self, record: Record) -> None:
        """Take note of a record."""
        cost, aside = Cost.of(record), Aside.of(record)
        if cost is not None:
            self._add(cost)
        if aside is not None:
            self._add_aside(aside)
        measured = (record.provenance.calibration or {}).get("before")
        self.rates = measured or self.rates

    def _add(self, cost: Cost) -> None:
        for level, shared in enumerate(cost.place.levels()):
            self._costs[level, shared].append(cost)
            for field in DECIDING:
                self._costs[level, shared, field, getattr(cost.place, field)].append(cost)

    def _add_aside(self, aside: Aside) -> None:
        place = aside.place
        for name in aside.seconds:
            for shared in ((), (place.label,), (place.label, place.backend, place.engine)):
                self._asides[name, *shared].append(aside)

    def costs(self, place: Place, level: int, field: str | None = None) -> Sequence[Cost]:
        """Return those of trials that share so much with a place, the newest last.

        Where a field is named (`DECIDING`), only those that are alike in it, if there are any.
        """
        shared = (level, place.levels()[level])
        alike = self._costs.get((*shared, field, getattr(place, field)), ()) if field else ()
        return alike or self._costs.get(shared, ())

    def aside_s(self, name: str, place: Place, trials: int = 1) -> float | None:
        """Return what a job of so many trials takes beside them for a purpose.

        Of the same cell, or else the same task, or else any. Where no job was of so many trials,
        those of the nearest number stand for it. None where nothing is recorded.
        """
        for shared in ((place.label, place.backend, place.engine), (place.label,), ()):
            found = self._asides.get((name, *shared))
            if found:
                nearest = min(abs(aside.trials - trials) for aside in found)
                alike = [a for a in found if abs(a.trials - trials) == nearest]
                return statistics.median(aside.seconds[name] for aside in alike)
        return None


class Medians(Struct, kw_only=True):
    """Medians of the records that come with echobench.

    Attributes:
        machines: the rates of each machine, by its class.
        costs: by machine, one for each place.
        asides: by machine, one for each place.
    """

    machines: dict[str, Rates | None]
    costs: dict[str, list[Cost]]
    asides: dict[str, list[Aside]]


def shipped() -> Medians:
    """Return the medians that come with echobench; none from a file that is missing or damaged."""
    try:
        text = files(__package__).joinpath(SHIPPED).read_bytes()
        return msgspec.json.decode(text, type=Medians)
    except (OSError, msgspec.DecodeError):
        return Medians(machines={}, costs={}, asides={})


def medians(records: Iterable[Record]) -> Medians:
    """Return the medians of records, by machine and place; of a machine the best rates."""
    costs: dict[tuple[str, Place], list[Cost]] = defaultdict(list)
    asides: dict[tuple[str, Place, int], list[Aside]] = defaultdict(list)
    rates: dict[str, list[Rates]] = defaultdict(list)
    for record in records:
        machine = record.machine_class
        if (cost := Cost.of(record)) is not None:
            costs[machine, cost.place].append(cost)
        if (aside := Aside.of(record)) is not None:
            asides[machine, aside.place, aside.trials].append(aside)
        rates[machine] += [rate for rate in (record.provenance.calibration or {}).values() if rate]
    by_machine = Medians(machines={}, costs=defaultdict(list), asides=defaultdict(list))
    for (machine, _), group in sorted(costs.items()):
        by_machine.costs[machine].append(_middle(group))
    for (machine, place, trials), jobs in sorted(asides.items()):
        seconds = {
            name: _rounded(statistics.median(found))
            for name in ASIDE
            if (found := [job.seconds[name] for job in jobs if name in job.seconds])
        }
        by_machine.asides[machine].append(Aside(place=place, trials=trials, seconds=seconds))
    by_machine.machines = {machine: _best(rates[machine]) for machine in by_machine.costs}
    return by_machine


def _middle(group: Sequence[Cost]) -> Cost:
    """Return one cost for all of a place: how most of those ended that had the largest budget."""
    longest = max(cost.max_epochs for cost in group)
    whole = [cost for cost in group if cost.max_epochs == longest]
    ends = [cost.status for cost in whole]
    status = max(sorted({*ends}), key=ends.count)
    alike = [cost for cost in whole if cost.status == status]
    starts = [cost.start_s for cost in group if cost.start_s is not None]
    epochs = round(statistics.median(cost.epochs for cost in alike))
    pace = statistics.median(cost.train_s / cost.epochs for cost in group)
    return Cost(
        place=group[0].place,
        start_s=_rounded(statistics.median(starts)) if starts else None,
        train_s=_rounded(pace * epochs),
        epochs=epochs,
        max_epochs=longest,
        timeout_s=max(cost.timeout_s for cost in alike),
        status=status,
    )


def _best(rates: Sequence[Rates]) -> Rates | None:
    """Return a machine's best rates: a product may have been disturbed."""
    copies = [rate.copy_bytes_per_s for rate in rates if isinstance(rate.copy_bytes_per_s, float)]
    if not copies:
        return None
    return Rates(
        matmul_flops_per_s=_rounded(max(rate.matmul_flops_per_s for rate in rates)),
        copy_bytes_per_s=_rounded(max(copies)),
        matmul_spread=1.0,
    )


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


LEAST_SCALE, MOST_SCALE = 0.5, 2.0
"""A start and a network as small as these follow the rates of large products only so far: on one
processor the products' rate rose 25 times with another library, and an update's did not."""


def scale(there: Rates | None, here: Rates | None) -> float:
    """Return how much longer a trial takes here than there, by both machines' rates.

    The geometric mean of the ratios of products and of copies; 1 where one is unknown.
    """
    if there is None or here is None:
        return 1.0
    ratio = there.matmul_flops_per_s / here.matmul_flops_per_s
    if isinstance(there.copy_bytes_per_s, float) and isinstance(here.copy_bytes_per_s, float):
        ratio = (ratio * there.copy_bytes_per_s / here.copy_bytes_per_s) ** 0.5
    return min(MOST_SCALE, max(LEAST_SCALE, ratio))


def history_here(known: Medians, rates: Rates | None) -> History:
    """Return what the shipped trials would take on a machine with these rates.

    Of a place that several machines have recorded, the median of them all counts.
    """
    costs, asides = [], []
    for machine, there in known.machines.items():
        factor = scale(there, rates)
        costs += [
            msgspec.structs.replace(
                cost,
                start_s=None if cost.start_s is None else factor * cost.start_s,
                train_s=factor * cost.train_s,
            )
            for cost in known.costs.get(machine, ())
        ]
        asides += [
            msgspec.structs.replace(aside, seconds=_scaled(aside.seconds, factor))
            for aside in known.asides.get(machine, ())
        ]
    return History(costs, asides)


def _scaled(seconds: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: factor * value for name, value in seconds.items()}
