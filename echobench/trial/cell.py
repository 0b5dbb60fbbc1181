"""What a record says of its trial, and the cell: what the trials of one row share."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from echobench.trial.trial import Trial, is_usual, trial_key
from echobench.trial.variables import variables_text

LARGEST_INTEGER = 2**63 - 1
LARGEST_FLOAT = 1.7976931348623157e308
Whole: TypeAlias = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
"""A count: more than 64 bits is no number to calculate with."""
Finite: TypeAlias = Annotated[float, Meta(ge=-LARGEST_FLOAT, le=LARGEST_FLOAT)]
"""A measurement: neither infinite nor nan, which JSON has no number for."""
NOT_IN_A_CELL: dict[str, Any] = {"seed": 0, "repeat": 0, "timeout_s": 0.0, "plugins": []}
"""Fields in which the trials of a cell may differ, and what stands for them all."""
OF_A_RECORD = ("execution", "beyond")
"""Fields of a cell that no trial has, only its record."""
WAY = (
    "engine", "jit", "compiler", "lstm", "cuda_graphs",
    "matmul_precision", "tf32", "precision", "onednn", "blas", "device_kind",
)  # fmt: skip # in two lines it reads better
"""Facts of a record's execution that tell the way in which a trial ran, and so its figures."""
CELLS = 10_000
"""Cells in the cache that gives all records of a cell the same object."""


class StoredRecipe(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A `Recipe` as a record holds it; what the oldest records lack stays unset."""

    units: Whole
    batch: Whole
    stateful: bool | UnsetType = UNSET
    sequences: Whole
    learning_rate: Finite
    warmup: Whole
    decay: Whole
    clip: Finite | UnsetType = UNSET
    epochs: Whole
    evaluate_every: Whole


class StoredTrial(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A `Trial` as a record holds it: fields of the same names, in the same order.

    A field that older records lack has the value that their trials ran with.
    """

    task: str
    parameters: dict[str, Any]
    label: str = ""
    plugins: list[str]
    backend: str
    engine: str
    division: str
    device: str
    threads: Whole
    seed: Whole
    recipe: StoredRecipe
    max_epochs: Whole
    timeout_s: Finite
    screen: Whole
    bound: Finite = 0.0
    certify: Whole = 0
    sustain: Whole = 0
    quick: bool = False
    repeat: Whole = 0
    cache: bool = False
    replicates: Whole = 0
    devices: Whole = 1
    smt: bool = False
    side_by_side: Whole = 1
    environment: dict[str, str] = {}
    versions: dict[str, str]
    source: str
    task_source: str = ""
    backend_source: str = ""
    test_set: str = ""

    @classmethod
    def of(cls, trial: Trial) -> StoredTrial:
        """Return a trial as its record holds it."""
        return msgspec.convert(trial.model_dump(mode="json"), cls)

    @property
    def is_judged(self) -> bool:
        """Whether a judge answers for its certificate: not for one by the old rule."""
        return self.bound > 0 or bool(self.test_set)

    @property
    def key(self) -> str:
        """Return the trial's key, as `Trial.key` has it."""
        return trial_key(msgspec.to_builtins(self))


Pairs: TypeAlias = tuple[tuple[str, Any], ...]
"""A dictionary that can be hashed."""


class Cell(Struct, kw_only=True, frozen=True, cache_hash=True):
    """What the trials of one row share: all that makes two trials comparable.

    docs/method.md gives the reason for each field. One that is left open is None; `execution` is,
    of a trial that has not run or did not say how: see `joined`.
    """

    label: str
    backend: str
    engine: str
    division: str
    device: str
    threads: int
    smt: bool
    side_by_side: int
    devices: int
    task: str
    parameters: Pairs
    source: str
    task_source: str
    backend_source: str
    recipe: StoredRecipe
    max_epochs: int
    screen: int
    bound: float
    certify: int
    sustain: int
    test_set: str
    quick: bool
    cache: bool
    replicates: int
    environment: Pairs
    versions: Pairs
    execution: Pairs | None = None
    beyond: Pairs | None = None

    @classmethod
    def of(
        cls,
        trial: Trial | StoredTrial,
        execution: Mapping[str, Any] | None = None,
        beyond: dict[str, Any] | None = None,
    ) -> Cell:
        """Return the cell of a trial: one object for all trials of the cell.

        Args:
            trial: any of its trials.
            execution: how its record says that it ran; what is in `WAY` counts.
            beyond: what its record says of the trial and this version does not know.
        """
        stored = StoredTrial.of(trial) if isinstance(trial, Trial) else trial
        shared = msgspec.json.encode(msgspec.structs.replace(stored, **NOT_IN_A_CELL))
        way = {name: execution[name] for name in WAY if name in execution} if execution else None
        cell = _cell(shared, msgspec.json.encode(way) if way else b"")
        return msgspec.structs.replace(cell, beyond=_hashable(beyond)) if beyond else cell

    @classmethod
    def partly(cls, **fields: Any) -> Cell:
        """Return a cell of which only some fields are given, as JSON has them."""
        given = {name: _hashable(value) for name, value in fields.items() if name != "recipe"}
        if "recipe" in fields:
            given["recipe"] = msgspec.convert(fields["recipe"], StoredRecipe)
        return cls(**{**dict.fromkeys(cls.__struct_fields__), **given})

    def without(self, *names: str) -> Cell:
        """Return the cell with some fields left open: equal to others that differ in these only."""
        return msgspec.structs.replace(self, **dict.fromkeys(names))

    def only(self, *names: str) -> Cell:
        """Return the cell with all fields but some left open."""
        return self.partly(**{name: getattr(self, name) for name in names})

    def __str__(self) -> str:
        shown = (self.label, self.backend, self.engine, self.division)
        return " ".join(part for part in shown if part is not None)

    def __lt__(self, other: Cell) -> bool:
        return (str(self), self.text) < (str(other), other.text)

    @property
    def text(self) -> str:
        """Return the cell as JSON, the same for equal cells; digests are taken of it."""
        return _encoder.encode(self._fields()).decode()

    @property
    def variables(self) -> str:
        """Return the variables that its workers were given, as a shell takes them."""
        return variables_text(dict(self.environment or ()))

    @property
    def certificate(self) -> str:
        """Return what a certificate of the cell says, in words."""
        if self.test_set:
            trained = ", which it was trained on" if self.test_set == "trained on" else ""
            if self.screen == 1:
                return f"the only test sequence{trained}"
            return f"all {self.screen:,} test sequences{trained}"
        if not self.bound:
            return "certified by the old rule"
        return f"fewer than {1000 * self.bound:g} in 1,000 wrong"

    def leaves(self) -> dict[str, Any]:
        """Return the fields flat and in order of their names: `recipe.units`, `threads`.

        Fields that older trials lack are left out where they have their usual values.
        """
        return dict(_flat(self._fields()))

    def _fields(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        given = {n: v for n, v in fields.items() if v is not None and not is_usual(n, v)}
        for name in ("parameters", "environment", "versions", "execution", "beyond"):
            if name in given:
                given[name] = dict(given[name])
        return msgspec.to_builtins(given, order="sorted")  # type: ignore[no-any-return]


def joined(cells: Iterable[tuple[Cell, str]]) -> dict[tuple[Cell, str], Cell]:
    """Return the cell to which each that does not say how it ran belongs.

    A trial that failed early does not say it. It stands in the row of those that were planned
    alike, if these ran in one way.

    Args:
        cells: each with the class of its machine.
    """
    ways: dict[tuple[Cell, str], list[Cell]] = defaultdict(list)
    cells = set(cells)
    for cell, machine in cells:
        if cell.execution is not None:
            ways[cell.without("execution"), machine].append(cell)
    return {place: ways[place][0] for place in cells if len(ways.get(place, ())) == 1}


def differences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return, for each cell, the leaves that differ among the cells; None if it lacks one."""
    flat = [cell.leaves() for cell in cells]
    names = dict.fromkeys(name for leaves in flat for name in leaves)
    differing = [n for n in names if any(one.get(n) != flat[0].get(n) for one in flat)]
    return [{name: leaves.get(name) for name in differing} for leaves in flat]


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(StoredTrial)


@functools.lru_cache(CELLS)
def _cell(shared: bytes, way: bytes) -> Cell:
    trial = _decoder.decode(shared)
    known = [name for name in Cell.__struct_fields__ if name not in OF_A_RECORD]
    execution = msgspec.json.decode(way) if way else None
    return Cell.partly(**{name: getattr(trial, name) for name in known}, execution=execution)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(sorted((name, _hashable(item)) for name, item in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _flat(fields: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
