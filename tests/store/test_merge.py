"""Merging is a union of sets: each record once, the same bytes in any order."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echobench.analysis import frame
from echobench.errors import UsageError
from echobench.machine import parallel
from echobench.plugin.manager import Plugins
from echobench.store import merge as merging
from echobench.store.folder import Store
from echobench.store.merge import MergeReport, merge, sources_of
from echobench.trial.trial import QUICK_MEASURE
from tests.conftest import Command
from tests.records import RESULTS, failed, measured, real, run_again
from tests.store.dying import moments

Told = dict[str, Any]


@pytest.fixture(scope="module")
def records(plugins: Plugins) -> list[Told]:
    """Return records that pass the referee: four trials, two of them run twice."""
    told = real(plugins)
    found = []
    for slower, (seed, day) in enumerate([(0, 1), (1, 1), (2, 2), (3, 3), (0, 2), (1, 9)], start=1):
        start = f"2026-01-0{day}T00:00:0{seed}.000+00:00"
        found.append({**run_again(told, plugins, seed, slower), "started_at": start})
    return found


def lines(records: Sequence[Told]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def folder(path: Path, *files: Sequence[Told]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(files):
        (path / f"records-{number}.jsonl").write_bytes(lines(one))
    return path


def merged(into: Path, *paths: Path) -> MergeReport:
    return merge(sources_of(paths, into, []), into)


def held(path: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder, by name."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def said(path: Path) -> list[Told]:
    """Return the records of all files in a folder, in order."""
    return [
        json.loads(line) for _, text in sorted(held(path).items()) for line in text.splitlines()
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(
    parts=st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    steps=st.booleans(),
)
def test_it_is_the_union_of_sets_in_any_order(
    parts: list[list[int]],
    order: Any,
    steps: bool,
    records: list[Told],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    place = tmp_path_factory.mktemp("merge")
    paths = [
        folder(place / str(number), [records[which] for which in part])
        for number, part in enumerate(parts)
    ]
    once, again = place / "once", place / "again"
    done = merged(once, *paths)
    everything = set(itertools.chain(*parts))
    assert (done.read, done.new) == (sum(map(len, parts)), len(everything))
    expected = sorted((records[n] for n in everything), key=lambda r: (r["started_at"], r["key"]))
    assert said(once) == expected
    before = held(once)
    assert merged(once, *paths).new == 0
    assert held(once) == before
    order.shuffle(paths)
    if steps:
        for path in paths:
            merged(again, path)
    else:
        merged(again, *paths, *paths[:1])
    assert held(again) == before
    shutil.rmtree(place)


def test_what_a_run_wrote_in_the_target_is_left_alone(records: list[Told], tmp_path: Path) -> None:
    target = folder(tmp_path / "target", records[:2])
    before = held(target)
    done = merged(target, folder(tmp_path / "a", records[1:4]))
    assert (done.read, done.new) == (3, 2)
    assert before.items() <= held(target).items()
    assert len(said(target)) == 4
    assert merged(target, tmp_path / "a").new == 0


def test_a_record_is_what_it_says_not_how_it_is_written(
    records: list[Told], tmp_path: Path
) -> None:
    told = records[0]
    other = json.dumps(dict(reversed(told.items())), separators=(",", ":")).encode()
    for number, line in enumerate([lines([told]), other, b"\xef\xbb\xbf" + other + b"\r\n"]):
        path = tmp_path / str(number)
        path.mkdir()
        (path / "records-0.jsonl").write_bytes(line)
    both = [tmp_path / str(number) for number in range(3)]
    outcome = []
    for number, paths in enumerate(itertools.permutations(both)):
        done = merged(tmp_path / f"into{number}", *paths)
        assert (done.read, done.new, done.conflicts) == (3, 1, [])
        outcome.append(held(tmp_path / f"into{number}"))
    assert all(one == outcome[0] for one in outcome)
    (line,) = outcome[0].values()
    assert line in {lines([told]), other + b"\n"}  # one of them, byte for byte


def test_two_that_differ_are_both_kept_and_named(records: list[Told], tmp_path: Path) -> None:
    other = {**records[0], "log_tail": ["another"]}
    a, b = folder(tmp_path / "a", records[:1]), folder(tmp_path / "b", [other])
    done = merged(tmp_path / "into", a, b)
    (conflict,) = done.conflicts
    assert all(f"{path}/records-0.jsonl:1" in conflict for path in (a, b))
    assert len(said(tmp_path / "into")) == 2
    again = merged(tmp_path / "into", b, a)
    assert (again.new, again.conflicts) == (0, [])


def test_what_is_damaged_or_cannot_be_true_stays_behind(
    records: list[Told],
    tmp_path: Path,
    echobench: Command,
) -> None:
    false = {**records[1], "wall_s": 1e9}
    newer = {"schema_version": 99}
    path = folder(tmp_path / "a", [records[0], false, newer, records[2]])
    (path / "records-1.jsonl").write_bytes(lines([records[3]])[:-40])
    (path / "search.jsonl").write_bytes(b"{}\n")
    done = echobench("merge", "a", "--into", "new/into")
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr.splitlines()
    assert told[0].startswith("a/records-0.jsonl:2: cannot be true (ledger: expected phases")
    assert told[1].startswith("a/records-0.jsonl:3: written by a newer echobench")
    assert told[2].startswith("a/records-1.jsonl:1: not a record (cut off: ")
    assert told[3] == (
        "left out: 1 record that cannot be true, 1 line of a newer echobench, 1 damaged line"
    )
    assert told[4].startswith("new/into: 2 new records; 0 were there already, or twice; 2 files")
    assert said(tmp_path / "new" / "into") == [records[0], records[2]]


def test_a_folder_keeps_its_shape_and_smoke_runs_stay_apart(
    records: list[Told], tmp_path: Path
) -> None:
    quick = failed(records[0], quick=True, certify=QUICK_MEASURE, sustain=0)
    source = folder(tmp_path / "a", [records[0], quick])
    folder(source / "studies" / "state", records[1:2])
    folder(source / "quick", [quick])
    Store(source).append(measured("jax"))
    done = merged(tmp_path / "into", source)
    assert (done.read, done.new) == (5, 4)
    into = tmp_path / "into"
    assert said(into / "quick") == [quick]
    assert said(into / "studies" / "state") == records[1:2]
    (predictions,) = (tmp_path / "into").glob("predictions-*.jsonl")
    assert json.loads(predictions.read_bytes())["backend"] == "jax"
    assert merged(tmp_path / "into", source).new == 0


def test_a_damaged_merged_file_is_not_thrown_away(records: list[Told], tmp_path: Path) -> None:
    source, into = folder(tmp_path / "a", records[:2]), tmp_path / "into"
    merged(into, source)
    (path,) = into.iterdir()
    damaged = path.read_bytes()[:-10]
    path.write_bytes(damaged)
    done = merged(into, source)
    assert done.new == 1
    assert path.read_bytes() == damaged
    assert sorted(r.seed for r in Store.read(into)) == [0, 1]


def test_whenever_it_dies_nothing_is_lost(records: list[Told], tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", records[:3]), folder(tmp_path / "b", records[2:])
    expected, into = tmp_path / "expected", tmp_path / "into"
    merged(expected, a, b)
    merged(into, a)

    def check() -> None:
        found = Store.read(into)
        kept = {(one.key, one.started_at) for one in found}
        assert kept >= {(one["key"], one["started_at"]) for one in records[:3]}

    assert moments(lambda: merged(into, b), check) > 20
    assert held(into) == held(expected)


def test_one_at_a_time(
    records: list[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, into = folder(tmp_path / "a", records), tmp_path / "into"
    with (
        merging._exclusive(folder(into)),
        pytest.raises(UsageError, match="another merge is at work"),
    ):
        merged(into, source)
    monkeypatch.setattr(merging, "fcntl", None)  # as on Windows
    assert merged(into, source).new == len(records)


def test_parts_and_processes_are_the_whole(
    records: list[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [folder(tmp_path / str(n), records[n : n + 2]) for n in range(5)]
    merged(tmp_path / "once", *paths)
    monkeypatch.setattr(parallel, "LARGE_BYTES", 0)
    for name in ("PART", "MAX_OPEN"):
        monkeypatch.setattr(merging, name, 1)
    done = merged(tmp_path / "into", *paths)
    assert len(done.written) == len(records)
    assert said(tmp_path / "into") == said(tmp_path / "once")


def test_what_cannot_be_merged_is_one_line(records: list[Told], tmp_path: Path) -> None:
    source = folder(tmp_path / "a", records)
    with pytest.raises(UsageError, match="expected files or folders of records"):
        sources_of([source, tmp_path / "absent"], tmp_path / "into", [])
    with pytest.raises(UsageError, match="no records in"):
        sources_of([folder(tmp_path / "empty")], tmp_path / "into", [])
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "records-20260101T000000Z-merged-0000-000000000000.jsonl").mkdir()
    assert merged(tmp_path / "into", source).new == len(records)


def test_the_committed_records_merge_and_look_the_same(tmp_path: Path) -> None:
    done = merged(tmp_path, RESULTS / "open", RESULTS / "matrix")
    assert done.new == done.read > 100
    assert not done.left_out.counts
    both = frame.frame([*Store.read(RESULTS / "open"), *Store.read(RESULTS / "matrix")])
    found = frame.load(tmp_path)
    columns = ["key", "started_at", "wall_s"]
    assert sorted(found[columns].fillna(0.0).itertuples(index=False)) == sorted(
        both[columns].fillna(0.0).itertuples(index=False)
    )
