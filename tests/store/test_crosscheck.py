"""Records that contradict each other: doctored copies of the committed ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from echobench.plugin.manager import Plugins
from echobench.store.referee import Finding, validate
from echobench.trial.trial import trial_key
from tests.records import EARLIER, RESULTS, failed, real, run_again

Told = dict[str, Any]


@pytest.fixture
def contest() -> list[Told]:
    """Return the trials of one task on four backends, ten seeds each, by backend and seed."""
    (file,) = (EARLIER / "open").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    chosen = [record for record in records if record["task"] == "whole"]
    return sorted(chosen, key=lambda record: (record["backend"], record["seed"]))


def found(folder: Path, plugins: Plugins, *files: Sequence[Told]) -> list[Finding]:
    """Return what the referee finds; the files are written and read in order."""
    paths = []
    for number, records in enumerate(files):
        paths.append(folder / f"records-{number}.jsonl")
        paths[-1].write_text("".join(json.dumps(record) + "\n" for record in records))
    return validate(paths, plugins)[0]


def of(records: Sequence[Told], backend: str, *seeds: int) -> list[Told]:
    return [one for one in records if one["backend"] == backend and one["seed"] in seeds]


def renumbered(record: Told, seed: int, samples: Any = None) -> None:
    """Say that a trial had another seed, in all that says so."""
    record["seed"] = record["trial"]["seed"] = seed
    record["key"] = trial_key(record["trial"])
    record["samples"] = samples or record["samples"]


def test_committed_records_contradict_nothing(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    assert [one for one in found(tmp_path, plugins, contest) if one.severity == "error"] == []


def test_the_best_six_under_other_numbers_are_found_by_their_fingerprints(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    own = of(contest, "flax", *range(10))
    best = sorted(own, key=lambda one: one["time_to_target_s"])[:6]
    asked = {one["seed"]: one["samples"] for one in own}
    moved = {best[seed]["seed"]: seed for seed in range(6)}
    for one in best:
        one["provenance"]["seeds"] = {"rule": "fixed", "seeds": 6}
        one["provenance"]["command"] = ["echobench.run"]
        renumbered(one, moved[one["seed"]], asked[moved[one["seed"]]])
    others = [one for one in contest if one["backend"] != "flax"]
    errors = [f for f in found(tmp_path, plugins, others, best) if f.severity == "error"]
    assert sum(before != after for before, after in moved.items()) >= 3
    assert {(f.where, f.about) for f in errors} == {
        (f"{tmp_path / 'records-1.jsonl'}:{line}", "fingerprint")
        for line, (before, after) in enumerate(moved.items(), start=1)
        if before != after
    }
    for finding in errors:
        line = int(finding.where.rpartition(":")[2]) - 1
        assert f"it is that of seed {[*moved][line]}" in finding.message


def test_of_two_that_disagree_both_are_refused_and_rounding_is_told_apart(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    ours, theirs = of(contest, "jax", 0, 1), of(contest, "torch-native", 0, 1)
    for point in theirs[1]["evaluations"]:
        point["loss"] *= 1.01
    about = {f.where: f.severity for f in found(tmp_path, plugins, ours, theirs)
             if f.about == "fingerprint"}  # fmt: skip # one line reads better
    names = [str(tmp_path / f"records-{number}.jsonl:2") for number in (0, 1)]
    assert about == dict.fromkeys(names, "error")  # seed 0 agrees: rounding is small
    (doubt, *more) = [
        f for f in found(tmp_path, plugins, ours[1:], theirs[1:]) if f.about == "fingerprint"
    ]
    assert {f.severity for f in (doubt, *more)} == {"warning"}
    assert "rounding grows" in doubt.message


def test_one_training_under_two_seeds_is_found_within_a_backend(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    own = of(contest, "jax", *range(10))
    told = run_again(own[3], plugins, 5, 1.5)
    told["evaluations"] = [
        {**old, "train_s": new["train_s"]}
        for old, new in zip(own[3]["evaluations"], told["evaluations"], strict=True)
    ]
    files = [one for one in own if one["seed"] != 5], [told]
    errors = [f for f in found(tmp_path, plugins, *files) if f.severity == "error"]
    assert {f.about for f in errors} == {"fingerprint"}
    assert any("seed 5 learnt to the last bit as seed 3" in f.message for f in errors)


def other_seed(record: Told) -> None:
    record["provenance"].update(seeds=None, command=["echobench.run"])
    renumbered(record, 1)


def other_repeat(record: Told) -> None:
    record["provenance"].update(seeds=None, command=["echobench.run"])
    record["trial"]["repeat"] = 1
    record["key"] = trial_key(record["trial"])


def other_start(record: Told) -> None:
    record["started_at"] = "2026-11-27T00:00:00.000+00:00"


def other_machine(record: Told) -> None:
    record["provenance"]["machine"]["cores"] = 64


@pytest.mark.parametrize("forge", [other_seed, other_repeat, other_start, other_machine])
def test_the_same_times_under_two_names_are_refused(
    forge: Callable[[Told], None], plugins: Plugins, tmp_path: Path
) -> None:
    told = real(plugins)
    told["provenance"]["command"] = ["echobench.run"]
    copy = json.loads(json.dumps(run_again(told, plugins, int(forge is other_seed), 1.0)))
    copy["provenance"]["seeds"] = None
    forge(copy)
    copies = [f for f in found(tmp_path, plugins, [told], [copy]) if f.about == "copy"]
    assert [f.where for f in copies] == [
        f"{tmp_path / name}:1" for name in ("records-0.jsonl", "records-1.jsonl")
    ]
    assert all(f.severity == "error" and "the same times as" in f.message for f in copies)


def test_a_copy_with_one_time_changed_is_a_copy(plugins: Plugins, tmp_path: Path) -> None:
    told = real(plugins)
    copy = json.loads(json.dumps(told))
    other_start(copy)
    copy["import_s"] += 0.01
    copy["wall_s"] += 0.01
    copy["wall_to_target_s"] += 0.01
    assert {f.about for f in found(tmp_path, plugins, [told, copy])} == {
        "bound",
        "copy",
        "repeated",
    }


def test_trials_of_replicates_share_their_clock(plugins: Plugins, tmp_path: Path) -> None:
    files = sorted((RESULTS / "replicates").glob("*.jsonl"))
    errors = [f for f in validate(files, plugins)[0] if f.severity == "error"]
    assert errors == []


def at(told: Told, seconds: float) -> str:
    """Return a time so many seconds after the trial's start, as records have it."""
    moved = datetime.fromisoformat(told["started_at"]) + timedelta(seconds=seconds)
    return moved.isoformat(timespec="milliseconds")


@pytest.mark.parametrize(
    ("after", "changes", "severity"),
    [
        (0.95, {}, None),  # of its time: clocks differ by a little
        (1.0, {}, None),
        (0.3, {}, "error"),
        (0.3, {"cores": [5]}, None),
        (0.3, {"node": "other"}, None),
        (0.3, {"cpu": "another"}, None),
        (0.0, {}, None),  # of one process, in turn
        (0.3, {"file": True}, "warning"),
    ],
)
def test_one_core_runs_one_trial_at_a_time(
    after: float, changes: Told, severity: str | None, plugins: Plugins, tmp_path: Path
) -> None:
    told = real(plugins)
    other = run_again(told, plugins, 1, 1.1)
    seconds = told["wall_s"]
    assert 0.05 * seconds < 2.0 < 0.7 * seconds
    other["started_at"] = at(told, after * seconds)
    provenance = json.loads(json.dumps(other["provenance"]))
    provenance["path"]["affinity"] = changes.get("cores", provenance["path"]["affinity"])
    provenance["machine"]["cpu"] = changes.get("cpu", provenance["machine"]["cpu"])
    if "node" in changes:
        provenance["executor"] = {"name": "slurm", "node": changes["node"]}
    other["provenance"] = provenance
    files = [[told], [other]] if changes.get("file") else [[other, told]]
    overlaps = [f for f in found(tmp_path, plugins, *files) if f.about == "overlap"]
    assert {f.severity for f in overlaps} == ({severity} if severity else set())
    assert len(overlaps) == {"error": 2, "warning": 1, None: 0}[severity]


def test_trials_of_one_process_take_their_time_in_turn(plugins: Plugins, tmp_path: Path) -> None:
    told = real(plugins)
    second, third = (run_again(told, plugins, seed, 1 + seed / 10) for seed in (1, 2))
    third["started_at"] = at(told, 1.5 * told["wall_s"])  # the second is not through
    files = [told, second, third]
    assert [f.about for f in found(tmp_path, plugins, files)].count("overlap") == 2
    third["started_at"] = at(told, 2.2 * told["wall_s"])
    assert [f.about for f in found(tmp_path, plugins, files)].count("overlap") == 0


def test_fewer_seeds_than_declared_are_a_warning(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    best = of(contest, "flax", 0, 1, 2, 5, 6, 9)
    (told,) = [f for f in found(tmp_path, plugins, best) if f.about == "seeds"]
    assert (told.severity, told.where) == ("warning", f"{tmp_path / 'records-0.jsonl'}:1")
    assert told.message == (
        "whole flax native open: 6 of 10 declared seeds; no record of seed 3 to 4, 7 to 8"
    )
    there = [*best, *(failed(one) for one in of(contest, "flax", 3, 4, 7, 8))]
    assert [f for f in found(tmp_path, plugins, there) if f.about == "seeds"] == []


def test_forty_declared_and_ten_there(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    own = of(contest, "flax", *range(10))
    for one in own:
        one["provenance"]["seeds"]["seeds"] = 40
        one["provenance"]["command"] = ["echobench.run"]
    (told,) = [f for f in found(tmp_path, plugins, own) if f.about == "seeds"]
    assert "10 of 40 declared seeds; no record of seed 10 to 39" in told.message


def test_a_record_that_is_refused_accuses_no_other(
    contest: list[Told], plugins: Plugins, tmp_path: Path
) -> None:
    ours = of(contest, "jax", 0)
    forged = json.loads(json.dumps(ours))
    other_start(forged[0])
    forged[0]["accuracy"] = 0.5
    errors = [f for f in found(tmp_path, plugins, ours, forged) if f.severity == "error"]
    assert {f.where for f in errors} == {f"{tmp_path / 'records-1.jsonl'}:1"}
