"""Which seeds were declared before trials ran, and which of them have no record.

Who runs ten seeds and shows the best six has measured something else. So a record keeps how many
seeds its command declared; those of a cell that have no record are named wherever it stands.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct

from echobench.trial.record import Record
from echobench.trial.trial import FIRST_TUNING_SEED

FEW = 10
"""How many gaps among seeds a text lists."""
MOST_REPEATS = 1000
"""More repeats than anyone declares."""
SHOWN = {"seeds": "--seeds", "replicates": "--replicates", "repeats": "--repeats"}


class Declaration(Struct, frozen=True, order=True):
    """The seeds `first` to `first + seeds - 1` of a cell, each run `repeats` times."""

    first: int
    seeds: int
    repeats: int

    def includes(self, seed: int, repeat: int) -> bool:
        """Return whether a trial was declared."""
        return self.first <= seed < self.first + self.seeds and repeat < self.repeats


class Shortfall(NamedTuple):
    """The trials of a cell that were declared and have no record.

    Attributes:
        present, declared: numbers of trials.
        gaps: the missing seeds in words: `3`, `5 to 7`; after several repeats with its number.
        what: what is counted, `seeds` or, where seeds repeat, `trials`.
    """

    present: int
    declared: int
    gaps: list[str]
    what: str

    @property
    def short(self) -> str:
        """Return how many are there: `6 of 10 declared seeds`."""
        return f"{self.present:,} of {self.declared:,} declared {self.what}"

    def __str__(self) -> str:
        more = f" and {len(self.gaps) - FEW} such gaps more" if len(self.gaps) > FEW else ""
        return f"{self.short}; no record of seed {', '.join(self.gaps[:FEW])}{more}"


def declaration(record: Record) -> Declaration:
    """Return which seeds of its cell a record says were declared.

    That is what its command declared. Where that is not known, seeds begin at 0, so that seed 7
    says that 0 to 6 were run too.
    """
    by_command = declared_by_command(record)
    return by_command or Declaration(_first(record), *_least(record))


def declared_by_command(record: Record) -> Declaration | None:
    """Return what the command of a record declared, if it is known.

    Of `--seeds auto` it is all seeds up to the look for which the trial ran. Older records have
    the command line alone.
    """
    stated = record.provenance.seeds or {}
    asked = {} if stated.keys() >= {"seeds", "repeats"} else asked_for(record)
    looks = stated.get("looks")
    if isinstance(looks, list):
        least = _least(record)[0]
        seeds = min((n for look in looks if (n := _count(look)) and n >= least), default=None)
    else:
        seeds = _count(stated.get("seeds", asked.get("seeds")))
    first = stated.get("first", 0)
    repeats = _count(stated.get("repeats", asked.get("repeats", 1)))
    if not seeds or not repeats or repeats > MOST_REPEATS or not isinstance(first, int):
        return None
    return Declaration(first, seeds, repeats)


def asked_for(record: Record) -> dict[str, int]:
    """Return the numbers of seeds and repeats in the command line of `echobench run`, if any."""
    return _asked_for(tuple(record.provenance.command or ()))


@functools.lru_cache  # the records of a run have one command
def _asked_for(command: tuple[str, ...]) -> dict[str, int]:
    if command[1:2] != ("run",):
        return {}
    words = [part for word in command for part in word.split("=", 1)]
    found = {
        name: int(value)
        for name, option in SHOWN.items()
        for before, value in pairwise(words)
        if before == option and value.isascii() and value.isdigit()
    }
    auto = ("--seeds", "auto") in pairwise(words)
    seeds = max(found.get("seeds", 1), found.pop("replicates", 0))
    return found if auto else {**found, "seeds": seeds}


def shortfall(trials: Iterable[tuple[Declaration, int, int]]) -> Shortfall | None:
    """Return which declared trials of a cell have no record; None if all have.

    Args:
        trials: those that have a record, each with what it says was declared, its seed, and the
            number of its repeat.
    """
    there: dict[tuple[int, int], set[int]] = defaultdict(set)
    ends: dict[tuple[int, int], int] = defaultdict(int)
    for declared, seed, repeat in {*trials}:
        there[declared.first, repeat].add(seed)
        for number in range(declared.repeats):
            place = (declared.first, number)
            ends[place] = max(ends[place], declared.first + declared.seeds)
    runs = {
        place: (place[0] - 1, *sorted(seed for seed in there[place] if seed < end), end)
        for place, end in sorted(ends.items())
    }
    present = sum(len(seeds) - 2 for seeds in runs.values())
    declared_count = sum(end - first for (first, _), end in ends.items())
    if present >= declared_count:
        return None
    gaps = [
        gap + (f" (repeat {repeat})" if repeat else "")
        for (_, repeat), seeds in runs.items()
        for gap in _gaps(seeds)
    ]
    what = "trials" if any(repeat for _, repeat in ends) else "seeds"
    return Shortfall(present, declared_count, gaps, what)


def _gaps(seeds: Sequence[int]) -> list[str]:
    """Return the numbers missing between ascending ones: `3`, or `5 to 9`."""
    return [
        str(after - 1) if after - before == 2 else f"{before + 1} to {after - 1}"
        for before, after in pairwise(seeds)
        if after - before > 1
    ]


def _first(record: Record) -> int:
    """Return the first seed of those that a trial's is one of: a search has seeds of its own."""
    return FIRST_TUNING_SEED if record.seed >= FIRST_TUNING_SEED else 0


def _least(record: Record) -> tuple[int, int]:
    """Return how many seeds and repeats there were at least, for this trial to be one."""
    return record.seed - _first(record) + 1, record.trial.repeat + 1


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= FIRST_TUNING_SEED else None
