"""Comparisons: pairs found, ratios right, words that say no more than the figures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from echobench.analysis.comparison import (
    Comparison,
    Framed,
    as_rows,
    as_tables,
    cautions,
    compare,
)
from echobench.analysis.sides import Side
from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.record import Fingerprint, Parity, Record
from tests.records import changed, record

PAIRS = 8


def side(text: str, folder: Path) -> Side:
    return Side.parse(text, folder)


def trials(backend: str, factor: float, task: str = "partial", **fields: Any) -> list[Record]:
    return [
        record(
            seed,
            **{
                "task": task,
                "backend": backend,
                "seconds_per_update": factor * (1 + seed / 100),
                "time_to_target_s": factor * (2 + seed),
                "updates_to_target": 100 * (seed + 1),
                **fields,
            },
        )
        for seed in range(PAIRS)
    ]


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return side("backend=jax", tmp_path), side("backend=torch", tmp_path)


def compared(
    sides: tuple[Side, Side], a: list[Record], b: list[Record], *metrics: str
) -> list[Comparison]:
    framed = Framed.of(*sides, (a, b))
    framed.require_pairs()
    return compare(framed, metrics or ("seconds_per_update",))


def test_a_ratio_is_that_of_pairs(sides: tuple[Side, Side]) -> None:
    (found,) = compared(sides, trials("jax", 1.0), trials("torch", 2.0))
    assert found.verdict.ratio == pytest.approx((2.0, 2.0, 2.0, PAIRS))
    assert (found.task, found.cell) == ("partial", "fused closed")
    assert found.words == "A 2x faster [2, 2]"
    (other,) = compared(sides, trials("jax", 2.0), trials("torch", 1.0))
    assert other.words == "B 2x faster [2, 2]"


def test_the_same_is_no_difference(sides: tuple[Side, Side]) -> None:
    (found,) = compared(sides, trials("jax", 1.0), trials("torch", 1.0), "updates_to_target")
    assert found.words == "no difference beyond 5% [1, 1]"
    # Without an interval nothing is said to be the same, nor better.
    (few,) = compared(sides, trials("jax", 1.0)[:3], trials("torch", 1.0), "updates_to_target")
    assert few.words == "too few pairs to say"


def test_an_interval_that_excludes_1_is_not_printed_with_it(sides: tuple[Side, Side]) -> None:
    (found,) = compared(sides, trials("jax", 1.0), trials("torch", 1.004))
    assert found.words == "A 1.004x faster [1.004, 1.004]"
    (found,) = compared(sides, trials("jax", 1.0003), trials("torch", 1.0))
    assert found.words == "B 1.0003x faster [1.0003, 1.0003]"


def test_what_never_arrives_is_infinitely_slower(sides: tuple[Side, Side]) -> None:
    crash: dict[str, Any] = {"status": "failed", "time_to_target_s": None, "reason": "SIGSEGV"}
    (found,) = compared(
        sides, trials("jax", 1.0), trials("torch", 1.0, **crash), "time_to_target_s"
    )
    assert found.words == "A infinitely faster [inf, inf]"
    (row,) = as_rows([found])
    assert (row["ratio"], row["low"], row["high"], row["bounded"]) == (None, None, None, PAIRS)


def test_few_pairs_make_no_interval(sides: tuple[Side, Side]) -> None:
    found = compared(sides, trials("jax", 1.0)[:5], trials("torch", 2.0))
    assert found[0].words == "too few pairs to say; median ratio 2x (A faster)"
    crash: dict[str, Any] = {"status": "failed", "time_to_target_s": None, "reason": "SIGSEGV"}
    crashed = trials("torch", 1.0, **crash)
    (never,) = compared(sides, trials("jax", 1.0)[:5], crashed, "time_to_target_s")
    assert never.words == "too few pairs to say; median ratio infinite (A faster)"
    dealt = [
        changed(one, provenance={"process": {"id": f"{one.backend} {n // 4}", "place": n % 4}})
        for n, one in enumerate([*trials("jax", 2.0), *trials("torch", 1.0)])
    ]
    (few,) = compared(sides, dealt[:PAIRS], dealt[PAIRS:])
    assert few.words == "too few processes to say; median ratio 2x (B faster)"
    (line,) = as_tables(found)["seconds_per_update"]
    assert (line["pairs"], line["note"]) == ("5", "")
    (row,) = as_rows(found)
    assert (row["ratio"], row["low"]) == (pytest.approx(2.0), None)


def test_all_tasks_are_a_geometric_mean(sides: tuple[Side, Side]) -> None:
    a = [*trials("jax", 1.0), *trials("jax", 1.0, "whole")]
    b = [*trials("torch", 2.0), *trials("torch", 8.0, "whole")]
    found = compared(sides, a, b)
    assert [one.task for one in found] == ["partial", "whole", "all tasks"]
    assert found[-1].verdict.ratio.value == pytest.approx(4.0)
    assert [line["pairs"] for line in as_tables(found)["seconds_per_update"]] == ["8", "8", "16"]


def test_a_mean_over_tasks_is_a_bound_if_the_median_of_one_is(sides: tuple[Side, Side]) -> None:
    spent: dict[str, Any] = {"status": "missed", "time_to_target_s": None, "train_s": 99.0}
    a = [*trials("jax", 1.0), *trials("jax", 1.0, "whole")]
    b = [*trials("torch", 2.0), *trials("torch", 1.0, "whole", **spent)]
    for count, is_bound in ((4, True), (3, False)):  # of the eight pairs of `whole`
        mixed = [*b[: PAIRS + count], *trials("torch", 8.0, "whole")[count:]]
        found = compared(sides, a, mixed, "time_to_target_s")[-1]
        assert (found.verdict.bounded, "at least" in found.words) == (count, is_bound)


def test_a_miss_is_a_bound_and_two_misses_say_nothing(sides: tuple[Side, Side]) -> None:
    spent: dict[str, Any] = {
        "status": "missed",
        "time_to_target_s": None,
        "first_update_s": 1.0,
        "train_s": 99.0,
    }
    a, b = trials("jax", 1.0), trials("torch", 1.0, **spent)
    a[0] = trials("jax", 1.0, **spent)[0]
    (found,) = compared(sides, a, b, "time_to_target_s")
    assert (found.verdict.ratio.n, found.verdict.bounded, found.verdict.silent) == (
        PAIRS - 1,
        PAIRS - 1,
        1,
    )
    assert found.verdict.ratio.value == pytest.approx(100 / 6)  # the fourth of 3, 4, ... 9 seconds
    assert found.words.startswith("A at least 16.7x faster [")


def test_a_trial_that_failed_the_parity_gate_is_in_no_ratio(sides: tuple[Side, Side]) -> None:
    wrong = Parity(passed=False, reference="jax fit", tolerance=1e-5, largest_difference=0.1)
    b = trials("torch", 2.0)
    b[0] = changed(b[0], parity=wrong, seconds_per_update=1e-9)
    (found,) = compared(sides, trials("jax", 1.0), b)
    assert (found.verdict.ratio.n, found.verdict.silent) == (PAIRS - 1, 1)
    assert found.verdict.ratio.value == pytest.approx(2.0)


def test_sides_without_a_pair_are_named(sides: tuple[Side, Side]) -> None:
    with pytest.raises(UsageError, match="no trial of 'backend=jax' has a partner in"):
        compared(sides, trials("jax", 1.0), trials("torch", 1.0, "whole"))


def on_machines(a: str, b: str) -> tuple[list[Record], list[Record]]:
    """Return trials of jax and of torch, twice as slow, each on a processor of its own."""
    here, there = ({"machine": {"cpu": cpu, "cores": 2}} for cpu in (a, b))
    return trials("jax", 1.0, provenance=here), trials("torch", 2.0, provenance=there)


def test_pairs_are_of_one_class_of_machine(sides: tuple[Side, Side]) -> None:
    with pytest.raises(
        UsageError, match=r"differ in machine: A has old, 2 cores.*say machine=\.\.\."
    ):
        compared(sides, *on_machines("old", "new"))
    old, new = on_machines("old", "old"), on_machines("new", "new")
    found = compared(sides, [*old[0], *new[0]], [*old[1], *new[1][:6]])
    assert [(one.cell, one.verdict.ratio.n) for one in found] == [
        ("fused closed new, 2 cores", 6),
        ("fused closed old, 2 cores", PAIRS),
        ("", 6 + PAIRS),
    ]


def test_sides_may_say_which_machines_to_compare(tmp_path: Path) -> None:
    said = side("machine=old", tmp_path), side("machine=new", tmp_path)
    a = trials("jax", 1.0, provenance={"machine": {"cpu": "old", "cores": 2}})
    b = trials("jax", 2.0, provenance={"machine": {"cpu": "new", "cores": 2}})
    (found,) = compared(said, a, b)
    assert found.verdict.ratio.n == PAIRS
    assert found.verdict.ratio.value == pytest.approx(2.0)


def test_a_part_of_several_machines_names_is_named(tmp_path: Path, plugins: Plugins) -> None:
    store = Store(tmp_path)
    for cpu in ("Xeon", "EPYC"):
        store.append(record(provenance={"machine": {"cpu": cpu, "cores": 2}}))
    assert len(side("machine=Xeon", tmp_path).records(plugins)) == 1
    with pytest.raises(UsageError, match="part of 'EPYC, 2 cores' and 'Xeon, 2 cores'"):
        side("machine=2 cores", tmp_path).records(plugins)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", {}),
        ("backend=jax,engine=fit", {"backend": "jax", "engine": "fit"}),
        ("task=partial[n_in=8,n_out=4],seed=1", {"task": "partial[n_in=8,n_out=4]", "seed": "1"}),
        ("{}", {}),
        ("{}[threads=2]", {"threads": "2"}),
    ],
)
def test_a_side_is_a_path_or_fields_or_both(
    text: str, chosen: dict[str, str], tmp_path: Path
) -> None:
    found = side(text.replace("{}", str(tmp_path)), tmp_path)
    assert (found.path, found.chosen) == (tmp_path, chosen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=red", "the key one of task, backend"),
        ("backend=jax,fast", "expected PATH, key=value"),
        (
            "absent",
            "expected a folder or file of records, or a side such as backend=jax; received absent",
        ),
    ],
)
def test_a_side_that_is_none_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        side(text, tmp_path)


def test_a_default_folder_that_is_not_there_is_named_as_the_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--results: expected a folder of records; .*not there"):
        side("backend=jax", tmp_path / "absent")


def test_what_else_differs_is_told() -> None:
    def told(**changes: Any) -> list[Record]:
        base = {"versions": {"keras": "1", "jax": "1"}, "source": "s", "task": "partial"}
        return [record(trial={**base, **changes}, provenance={"machine": {"cpu": "x", "cores": 2}})]

    assert cautions(told(), told(versions={"keras": "1", "torch": "2"})) == []
    (line,) = cautions(told(), told(versions={"keras": "2"}))
    assert line == "different versions: A has keras 1, B keras 2"
    exact, rough = (
        [changed(r, provenance={"path": {"tf32": tf32}})]
        for r, tf32 in ((told()[0], False), (told()[0], True))
    )
    (line,) = cautions(exact, rough)
    assert line == "different precision: A has tf32 false, B tf32 true"
    (line,) = cautions(told(), told(source="t"))
    assert line.startswith("different task source")
    other = changed(told()[0], provenance={"machine": {"cpu": "y", "cores": 2}})
    assert cautions(told(), [other])[0].startswith("different machine")
    (line,) = cautions(told(), told(bound=0.0, certify=1000))
    assert line == (
        "different certificates: A has fewer than 3 in 1,000 wrong, B certified by the old rule"
    )
    (line,) = cautions(told(backend_source="a"), told(backend_source="b"))
    assert line == "different backend source: A has jax a, B jax b"
    assert cautions(told(), told(backend="torch", backend_source="b")) == []  # as they were chosen
    (line,) = cautions(told(), told(cache=True))
    assert line == "different settings: A has cache false, B cache true"
    compiled, eager = (
        [changed(r, provenance={"path": {"compiler": name}})]
        for r, name in ((told()[0], "inductor"), (told()[0], "none"))
    )
    (line,) = cautions(compiled, eager)
    assert (
        line == "different execution: A has jax fused compiler inductor, B jax fused compiler none"
    )
    clean, edited = (
        [changed(told()[0], provenance={"git": {"commit": "c" * 40, "dirty": dirty}})]
        for dirty in (False, True)
    )
    (line,) = cautions(clean, edited)
    assert line == f"different checkout of echobench: A has {'c' * 12}, B {'c' * 12} changed"
    both = [*told(), *told(backend="torch", versions={"keras": "1", "torch": "2"})]
    newer = [*told(), *told(backend="torch", versions={"keras": "1", "torch": "3"})]
    assert cautions(both, newer) == ["different versions: A has torch 2, B torch 3"]
    (line,) = cautions(told(), told(environment={"TZ": "UTC"}))
    assert line == "different environment: A has none, B TZ=UTC"


def test_trials_whose_workers_had_other_variables_are_no_pair(tmp_path: Path) -> None:
    usual, given = (
        [
            record(seed, seconds_per_update=float(factor), trial={"environment": environment})
            for seed in range(6)
        ]
        for factor, environment in ((1, {}), (2, {"XLA_FLAGS": "--a=b"}))
    )
    a, b = Side.parse(str(tmp_path), tmp_path), Side.parse(str(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="has a partner"):
        compared((a, b), usual, given)
    a, b = (
        Side.parse(f"{tmp_path}[environment={text}]", tmp_path) for text in ("", "XLA_FLAGS=--a=b")
    )
    assert b.chosen == {"environment": "XLA_FLAGS=--a=b"}
    (found,) = compared((a, b), usual, given)
    assert found.verdict.ratio.value == 2.0


def test_trials_of_different_bounds_are_no_pair(tmp_path: Path) -> None:
    usual = [record(seed, seconds_per_update=1.0, task="whole") for seed in range(6)]
    strict = [
        record(seed, seconds_per_update=2.0, task="whole", trial={"bound": 0.001})
        for seed in range(6)
    ]
    a, b = Side.parse(str(tmp_path), tmp_path), Side.parse(str(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="has a partner"):
        compared((a, b), usual, strict)
    a, b = (Side.parse(f"{tmp_path}[bound={bound}]", tmp_path) for bound in ("0.003", "0.001"))
    (found,) = compared((a, b), usual, strict)
    assert found.verdict.ratio.value == 2.0


FLAX = {"backend": "flax", "engine": "native"}


def of_backends(folder: Path) -> tuple[Side, Side]:
    return Side.parse(f"{folder}[backend=jax]", folder), Side.parse("backend=flax", folder)


def test_sides_with_one_engine_each_are_compared_across_engines(tmp_path: Path) -> None:
    ours = [record(seed, seconds_per_update=1.0) for seed in range(6)]
    theirs = [record(seed, seconds_per_update=2.0, **FLAX) for seed in range(6)]
    framed = Framed.of(*of_backends(tmp_path), (ours, theirs))
    (found,) = compare(framed, ["seconds_per_update"])
    assert (found.cell, found.verdict.ratio.value, found.verdict.ratio.n) == ("closed", 2.0, 6)
    assert framed.cautions() == [
        "jax fused against flax native: the sides have no engine in common"
    ]
    # Where they have one in common, or name a path alone, only equal engines make a pair.
    both = [
        *theirs,
        *(changed(record(seed, seconds_per_update=2.0), backend="flax") for seed in range(2)),
    ]
    framed = Framed.of(*of_backends(tmp_path), (ours, both))
    (found,) = compare(framed, ["seconds_per_update"])
    assert (found.cell, found.verdict.ratio.n) == ("fused closed", 2)
    path = Side.parse(str(tmp_path), tmp_path)
    native = [record(seed, engine="native") for seed in range(6)]
    with pytest.raises(UsageError, match="they differ in engine: A has fused, B native"):
        Framed.of(path, path, (ours, native)).require_pairs()


def test_sides_without_a_pair_are_given_the_command_that_has_some(tmp_path: Path) -> None:
    sides = of_backends(tmp_path)
    timed = {"seconds_per_update": 1.0}
    ours = [
        record(seed, engine=engine, **timed) for seed in range(6) for engine in ("fused", "fit")
    ]
    theirs = [record(seed, trial={"threads": 9}, **FLAX, **timed) for seed in range(6)]
    with pytest.raises(UsageError) as refused:
        Framed.of(*sides, (ours[:-1], theirs)).require_pairs()  # one fewer of `fit`
    told, _, command = str(refused.value).partition("; to compare these: ")
    assert told.endswith(
        "they differ in engine: A has fused and fit, B native; threads: A has 2, B 9"
    )
    verb, name, *texts = shlex.split(command)
    assert (verb, name) == ("echobench", "compare")
    named = [Side.parse(text, Path("elsewhere")) for text in texts]
    assert [side.path for side in named] == [tmp_path, tmp_path]
    assert named[0].chosen == {"backend": "jax", "engine": "fused", "threads": "2"}
    kept = [one for one in ours if one.engine == "fused"]
    (found,) = compared((named[0], named[1]), kept, theirs)
    assert found.verdict.ratio.n == 6


def test_what_was_not_checked_is_said_of_each_side() -> None:
    a = trials("jax", 1.0)
    b = [
        changed(one, parity=Parity(passed=None), fingerprint=Fingerprint(epoch=1, loss=1.0))
        for one in trials("torch", 1.0)
    ]
    assert cautions(a, a) == []
    assert cautions(a, [*b[:2], *a[2:]])[-2:] == [
        "2 of 8 trials of B were not compared with a reference",
        "2 of 8 trials of B have a fingerprint that was not compared",
    ]
