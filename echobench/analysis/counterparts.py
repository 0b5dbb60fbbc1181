"""Which cells of two sides are compared, where several of a side go by the same names.

A folder may hold a cell twice: with another budget, after an upgrade, of an edited plugin. Then the
two cells that differ least are compared, and every other one stands by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echobench.analysis.twins import shown, words
from echobench.trial.cell import Cell, differences

MOST = 2
"""How many differences a label gives."""
Group = Hashable
"""What the cells that go by the same names share."""


class Place(NamedTuple):
    """Where a cell stands in a comparison.

    Attributes:
        number: within its group; the two cells that are compared have the same.
        label: in what it differs from the other cells of its group; empty if there is no other.
    """

    number: int
    label: str


@dataclass(frozen=True)
class Counterparts:
    """The places of the cells of both sides, and what is to be said of the choice."""

    places: tuple[dict[tuple[Group, Cell], Place], dict[tuple[Group, Cell], Place]]
    cautions: list[str] = field(default_factory=list)


def counterparts(
    ours: Iterable[tuple[Group, Cell, str]], theirs: Iterable[tuple[Group, Cell, str]]
) -> Counterparts:
    """Find for each cell of side A the cell of side B that it is compared with.

    Smoke runs and real ones are never compared. Of cells that differ as little, the one that ran
    last counts.

    Args:
        ours: for each trial of side A its group, its cell, and when it began.
        theirs: the same of side B.
    """
    sides = (_cells(ours), _cells(theirs))
    found = Counterparts(({}, {}))
    for group in dict.fromkeys([*sides[0], *sides[1]]):
        ours_here, theirs_here = (side.get(group, {}) for side in sides)
        pairs, unsure = _nearest(ours_here, theirs_here)
        if unsure:
            found.cautions.append(_unsure(unsure))
        labels = [dict(zip(c, _labels([*c]), strict=True)) for c in (ours_here, theirs_here)]
        numbers = {cell: number for number, cell in enumerate(ours_here)}
        for cell, number in numbers.items():
            found.places[0][group, cell] = Place(number, labels[0][cell])
        number = len(numbers)
        for cell in theirs_here:
            if cell in pairs:
                partner = pairs[cell]
                found.places[1][group, cell] = Place(numbers[partner], labels[0][partner])
            else:
                found.places[1][group, cell] = Place(number, labels[1][cell])
                number += 1
    return found


def _cells(trials: Iterable[tuple[Group, Cell, str]]) -> dict[Group, dict[Cell, str]]:
    """Return when each cell of each group ran last."""
    found: dict[Group, dict[Cell, str]] = defaultdict(dict)
    for group, cell, started_at in trials:
        found[group][cell] = max(started_at, found[group].get(cell, ""))
    return found


def _nearest(
    ours: Mapping[Cell, str], theirs: Mapping[Cell, str]
) -> tuple[dict[Cell, Cell], list[Cell]]:
    """Return for cells of side B those of side A; and cells of B among which time decided."""
    left = {
        (a, b): _distance(a, b) if len(ours) > 1 or len(theirs) > 1 else 0
        for a in ours
        for b in theirs
        if a.quick == b.quick
    }
    pairs: dict[Cell, Cell] = {}
    unsure: dict[Cell, None] = {}
    while left:
        least = min(left.values())
        near = [pair for pair, distance in left.items() if distance == least]
        a, b = max(near, key=lambda pair: (ours[pair[0]], theirs[pair[1]]))
        rivals = [other for first, other in near if first == a]
        if len(rivals) > 1:
            unsure |= dict.fromkeys(rivals)
        pairs[b] = a
        left = {pair: d for pair, d in left.items() if pair[0] != a and pair[1] != b}
    return pairs, [*unsure]


def _distance(a: Cell, b: Cell) -> int:
    """Return in how many fields two cells differ."""
    return len(differences([a, b])[0])


def _labels(cells: Sequence[Cell]) -> list[str]:
    """Return for each cell in what it differs from the others, in words."""
    if len(cells) < 2:
        return [""] * len(cells)
    leaves = differences(cells)
    columns = [
        [f"{words(name)} {value}" for value in shown(name, [one[name] for one in leaves])]
        for name in [*leaves[0]][:MOST]
    ]
    return [", ".join(values) for values in zip(*columns, strict=True)]


def _unsure(cells: Sequence[Cell]) -> str:
    names = ", ".join(map(words, differences(cells)[0]))
    return (
        f"B has {len(cells)} cells of {cells[0]} that differ from A's as little, and among "
        f"themselves in {names}: the one that ran last is compared"
    )
