"""The referee: our own records pass, forged ones do not; a tuned record stands in open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echobench.core.target import needed
from echobench.plugin.manager import Plugins
from echobench.store.referee import Finding, sorted_out, validate
from echobench.trial.record import Record
from echobench.trial.trial import trial_key
from tests.conftest import Command
from tests.records import RESULTS, by_new_rule, changed, real, run_again

Told = dict[str, Any]

FEWER: dict[str, Any] = {"rule": "fixed", "seeds": 6, "first": 0, "repeats": 1}


@pytest.fixture(scope="module")
def told(plugins: Plugins) -> Told:
    return real(plugins)


@pytest.fixture(scope="module")
def counted(told: Told) -> Told:
    return by_new_rule(told)


@pytest.fixture(scope="module")
def closed(told: Told) -> Record:
    return Record.from_dict(told)


def findings(folder: Path, plugins: Plugins, *records: Told) -> list[Finding]:
    path = folder / "records-x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found, count = validate([path], plugins)
    assert count == len(records)
    return found


def test_our_own_records_can_be_true(plugins: Plugins) -> None:
    found, count = validate(sorted(RESULTS.rglob("records-*.jsonl")), plugins)
    assert count > 150
    assert [finding for finding in found if finding.severity == "error"] == []


def test_a_real_record_passes(told: Told, counted: Told, plugins: Plugins, tmp_path: Path) -> None:
    (old,) = findings(tmp_path, plugins, told)
    assert (old.severity, old.about) == ("warning", "bound")
    assert old.message == "certified by the old rule"
    assert findings(tmp_path, plugins, counted) == []


def faster(record: Told) -> None:
    record["time_to_target_s"] /= 10


def all_faster(record: Told) -> None:
    faster(record)
    record["last_miss_s"] /= 10
    for point in record["evaluations"]:
        point["train_s"] /= 10


def few_and_faster(record: Told) -> None:
    all_faster(record)
    record["evaluations"] = record["evaluations"][-2:]


def with_quartile(forgery: Callable[[Told], None]) -> Callable[[Told], None]:
    """Forge the faster quartile of an update, too, which nothing else depends on."""

    def forge(record: Told) -> None:
        forgery(record)
        record["seconds_per_update_quartiles"][0] = 0.0

    return forge


def tuned(record: Told) -> None:
    record["trial"]["recipe"]["learning_rate"] = 0.02


def looked(record: Told, *, clean: bool) -> Told:
    """Return an evaluation that keeps a sample, the last of those with or without an error."""
    shown = [p for p in record["evaluations"] if p.get("sample") and (p["accuracy"] == 1) == clean]
    found: Told = shown[-1]
    return found


def wrong(sample: Told) -> None:
    """Have a sample answer wrong, each of its tokens."""
    sample["predicted"] = [(token + 1) % 100 for token in sample["expected"]]


def all_wrong(record: Told) -> None:
    for sample in record["samples"]:
        wrong(sample)


def with_trial(**changes: Any) -> Callable[[Told], None]:
    """Return a forgery that changes the trial, with a key to match."""

    def forge(record: Told) -> None:
        record["trial"].update(changes)
        record["key"] = trial_key(record["trial"])

    return forge


def certified_by_few(record: Told) -> None:
    with_trial(certify=100)(record)
    record.update(certified_sequences=100, error_bound=0.03)


def stopped_at_the_hit(record: Told) -> None:
    with_trial(sustain=0)(record)
    record["after_hit"] = []


def slowed(record: Told) -> None:
    """Have the evaluations show that the second half of training was slow, unsaid."""
    points = record["evaluations"]
    for point in points[: len(points) // 2]:
        point["train_s"] *= 0.2


def multiplied(factor: float, *names: str) -> Callable[[Told], None]:
    return lambda record: record.update({name: factor * record[name] for name in names})


FORGERIES: list[tuple[Callable[[Told], None], str, str]] = [
    (lambda r: r.update(wall_s=r["wall_s"] / 2), "ledger", "add up to wall_s"),
    (lambda r: r.update(eval_s=None), "ledger", "some are empty"),
    (faster, "time_to_target_s", "expected last_miss_s <= it"),
    (multiplied(1.01, "train_s", "wall_s"), "time_to_target_s", "expected all of training"),
    (all_faster, "time_to_target_s", "of updates_to_target x "),
    (with_quartile(all_faster), "time_to_target_s", "of updates_to_target x "),
    (with_quartile(few_and_faster), "time_to_target_s", "of updates_to_target x "),
    (multiplied(0.5, "last_miss_s"), "last_miss_s", "the time of the evaluation before"),
    (multiplied(0.5, "wall_to_target_s"), "wall_to_target_s", "its parts; received"),
    (lambda r: r.update(wall_to_target_s=r["wall_s"]), "wall_to_target_s", "its parts; received"),
    (lambda r: r.update(wall_to_target_s=None), "wall_to_target_s", "expected a figure"),
    (lambda r: r.update(accuracy=0.999), "accuracy", "expected accuracy and exact match 1"),
    (lambda r: r.update(certified_sequences=10), "certified_sequences", "expected 1000"),
    (lambda r: r.update(error_bound=1e-5), "error_bound", "expected 0.003"),
    (certified_by_few, "certify", "expected the suite's 1000; received 100"),
    (with_trial(environment={"XLA_FLAGS": "-x"}), "environment", "may speed up one backend alone"),
    (with_trial(environment={"KERAS_BACKEND": "x"}), "environment", "echobench sets it itself"),
    (with_trial(screen=1), "screen", "expected the suite's 50; received 1"),
    (stopped_at_the_hit, "sustain", "expected the suite's 3; received 0"),
    (lambda r: r.update(sequences_per_s=1e9), "sequences_per_s", "received 1e+09"),
    (multiplied(100, "tokens_per_s"), "tokens_per_s", "expected "),
    (
        lambda r: r.update(seconds_per_update_quartiles=[1e-9, 2e-9]),
        "seconds_per_update",
        "expected it within its quartiles, 1e-09 to 2e-09",
    ),
    (multiplied(10, "flops_per_update", "limit_fraction"), "flops_per_update", "; received "),
    (multiplied(10, "limit_fraction"), "limit_fraction", "; received "),
    (multiplied(2, "updates_to_target"), "updates_to_target", "an epoch, as in all of training"),
    (multiplied(2, "updates_to_target", "updates"), "updates", "expected 1 an epoch; there are 2"),
    (lambda r: r.update(epochs_to_target=7), "evaluations", "at epochs_to_target"),
    (lambda r: r["evaluations"].reverse(), "evaluations", "that rise"),
    (lambda r: r["evaluations"][0].update(epoch=1), "evaluations", "expected one each 100 epochs"),
    (lambda r: r["evaluations"].pop(3), "evaluations", "expected one each 100 epochs"),
    (lambda r: r.update(evaluations=[]), "evaluations", "expected some"),
    (lambda r: r["evaluations"][0].update(exact_match=0.0001), "evaluations", "of 50 sequences"),
    (lambda r: wrong(looked(r, clean=True)["sample"]), "evaluations", "is wrong, beside 100%"),
    (all_wrong, "samples", "answers are wrong, after a certificate"),
    (lambda r: r.update(samples=[]), "samples", "there is none"),
    (lambda r: r.update(failed_certifications=0), "failed_certifications", "expected 12"),
    (lambda r: r.update(status="missed"), "error_bound", "expected empty in a trial that is"),
    (lambda r: r.update(accuracy_at_tutorial_epochs=1.5), "accuracy_at_tutorial_epochs", "0..1"),
    (lambda r: r.update(accuracy_at_tutorial_epochs=None), "accuracy_at_tutorial_epochs", "5000"),
    (lambda r: r.update(compile_s=-1.0), "compile_s", "expected 0 or more"),
    (lambda r: r["parity"].update(largest_difference=1.0), "parity", "passed is not what"),
    (
        lambda r: r["parity"].update(largest_difference=0.5, tolerance=1.0),
        "parity",
        "expected 20 updates within the suite's 1e-05; received 20 within 1.0",
    ),
    (lambda r: r["parity"].update(updates=1), "parity", "expected 20 updates"),
    (lambda r: r.update(parity=None), "parity", "it is empty"),
    (lambda r: r["parity"].update(squeezed=1e-3), "parity", "passed is not what"),
    (lambda r: r["parity"].update(failure="killed"), "parity", "passed is not what"),
    (lambda r: r["parity"].update(largest_difference=-3.0), "parity", "of 0 or more"),
    (lambda r: r["parity"].update(squeezed=-7.0), "parity", "of 0 or more"),
    (lambda r: r["parity"].update(reference=None), "parity", "expected the reference"),
    (lambda r: r["parity"].update(largest_difference=0.5, passed=None), "parity", "is empty"),
    (
        lambda r: r.update(recompilations={"times": 1, "seconds": 1e6}, schema_version=6),
        "recompilations",
        "expected at most the",
    ),
    (lambda r: r.update(started_at="2099-01-01T00:00:00+00:00"), "started_at", "in the future"),
    (lambda r: r.update(started_at="yesterday"), "started_at", "expected a time in UTC"),
    (lambda r: r.update(started_at="2026-11-01T00:00:00"), "started_at", "expected a time in UTC"),
    (lambda r: r["provenance"]["path"].update(busy_cores=40.0), "busy_cores", "at most the trial"),
    (lambda r: r["provenance"]["path"].update(affinity=[0, 1]), "affinity", "at most 1 cores"),
    (lambda r: r.update(schema_version=2), "sustained_hit_s", "none in a record of schema 2"),
    (
        lambda r: r["provenance"].update(command=["echobench", "run", "--seeds=40"], seeds=FEWER),
        "seeds",
        "expected the 40 of the command; 6 are declared",
    ),
    (
        lambda r: (
            r.update(seed=7) or r["trial"].update(seed=7) or r["provenance"].update(seeds=FEWER)
        ),
        "seed",
        "7 is none of the 6 that were declared",
    ),
    (lambda r: r.update(seed=7) or with_trial(seed=7)(r), "samples", "that seed 7 asks for"),
    (lambda r: r.update(backend="torch"), "backend", "expected the trial's 'jax'"),
    (tuned, "key", "the digest of the trial"),
    (tuned, "division", "is open, not closed: learning_rate=0.02 instead of 0.001"),
    (lambda r: r["trial"].pop("versions"), "damaged", "missing required field `versions`"),
    (lambda r: r.update(colour="red"), "damaged", "unknown field `colour`"),
    (lambda r: r.pop("task"), "damaged", "missing required field `task`"),
    (lambda r: r.update(colour="red", schema_version=99), "newer", "by a newer echobench"),
]


@pytest.mark.parametrize(("forge", "about", "message"), FORGERIES)
def test_a_forged_record_is_found(
    forge: Callable[[Told], None],
    about: str,
    message: str,
    told: Told,
    plugins: Plugins,
    tmp_path: Path,
) -> None:
    forged = json.loads(json.dumps(told))
    forge(forged)
    found = [f for f in findings(tmp_path, plugins, forged) if f.severity == "error"]
    assert any(f.about == about and message in f.message for f in found), found
    assert all(f.where.endswith("records-x.jsonl:1") for f in found)


COUNTED: list[tuple[Callable[[Told], None], str, str]] = [
    (slowed, "disturbances", "x the time at the end as at the start"),
    (lambda r: r.update(limit_fraction=1.5), "limit_fraction", "expected none above 1"),
    (lambda r: r.update(certified_sequences=1230), "certified_sequences", "expected 2734 after 12"),
    (lambda r: r.update(error_bound=0.001), "error_bound", "expected 0.003"),
    (lambda r: r.update(certifications=[]), "certifications", "one after each evaluation"),
    (lambda r: r["certifications"].pop(3), "certifications", "one after each evaluation"),
    (lambda r: r["certifications"][-1].update(sequences=1230), "certifications", "expected 2734"),
    (lambda r: r["certifications"][-1].update(wrong=1), "certifications", "without an error"),
    (lambda r: r["certifications"][0].update(wrong=0), "certifications", "at attempt 1, a refusal"),
    (lambda r: r["certifications"][0].update(sequences=9999), "certifications", "within 1230"),
    (lambda r: r.update(failed_certifications=0), "failed_certifications", "expected 12"),
    (with_trial(bound=0.0, certify=1000), "certify", "expected the suite's 0; received 1000"),
    (with_trial(bound=0.0), "bound", "expected one in a record of its schema"),
    (lambda r: r.update(schema_version=4), "bound", "expected none in a record of its schema"),
    (lambda r: r.update(diverged_epoch=7), "diverged_epoch", "expected the last one"),
    (lambda r: r["judge"].update(interval=[0.0, 0.1]), "judge", "expected an interval of 6.19e-05"),
    (lambda r: r["judge"].update(sequences=10), "judge", "errors in the suite's 10,000 sequences"),
    (lambda r: r["judge"].update(certificate_wrong=9), "judge", "its verdict is not what"),
    (lambda r: r["judge"].update(wrong=None), "judge", "expected what it counted"),
    (lambda r: r["judge"].update(refuted="no"), "judge", "its verdict is not what"),
    (lambda r: r.update(fingerprint=None), "fingerprint", "expected one in epoch 100"),
    (lambda r: r["fingerprint"].update(epoch=1), "fingerprint", "expected one in epoch 100"),
    (lambda r: r["fingerprint"].update(loss=1.0), "fingerprint", "loss and accuracy of the"),
    (lambda r: r["fingerprint"].update(reference_loss=1.0), "fingerprint", "passed is not what"),
]


@pytest.mark.parametrize(("forge", "about", "message"), COUNTED)
def test_a_certificate_that_does_not_count_its_attempts_is_found(
    forge: Callable[[Told], None],
    about: str,
    message: str,
    counted: Told,
    plugins: Plugins,
    tmp_path: Path,
) -> None:
    test_a_forged_record_is_found(forge, about, message, counted, plugins, tmp_path)


def test_another_bound_is_told(counted: Told, plugins: Plugins, tmp_path: Path) -> None:
    strict = json.loads(json.dumps(counted))
    with_trial(bound=0.001)(strict)
    asked = needed(13, 0.001)
    strict.update(certified_sequences=asked, error_bound=0.001)
    strict["certifications"][-1]["sequences"] = asked
    (found,) = findings(tmp_path, plugins, strict)
    assert (found.severity, found.message) == (
        "warning",
        "certificates of the bound 0.001 (--bound)",
    )


def test_variables_of_its_own_are_told(counted: Told, plugins: Plugins, tmp_path: Path) -> None:
    given = json.loads(json.dumps(counted))
    with_trial(environment={"TZ": "UTC"})(given)
    (found,) = findings(tmp_path, plugins, given)
    assert (found.severity, found.message) == ("warning", "variables TZ=UTC (--env)")
    with_trial(environment={"XLA_FLAGS": "--fast"})(given)
    (moved,), (why,) = sorted_out([Record.from_dict(given)], plugins)
    assert moved.division == "open"
    assert why.endswith("counts as open: workers were given XLA_FLAGS")


def test_a_loss_that_stops_being_finite_is_a_miss(
    counted: Told, plugins: Plugins, tmp_path: Path
) -> None:
    missed = json.loads(json.dumps(counted))
    nothing = ("time_to_target_s", "wall_to_target_s", "sustained_hit_s", "last_miss_s")
    missed.update(dict.fromkeys((*nothing, "certified_sequences", "error_bound")))
    missed.update(updates_to_target=None, epochs_to_target=None, after_hit=[])
    at = missed["epochs"] - 50
    missed.update(status="missed", epochs=at, updates=at, diverged_epoch=at, reason="not finite")
    missed.update(accuracy=0.5, exact_match=0.0, judge=None)
    missed["evaluations"].pop()
    missed["certifications"].pop()
    assert findings(tmp_path, plugins, missed) == []
    missed["diverged_epoch"] = None
    assert "expected the budget" in str(findings(tmp_path, plugins, missed))


def test_duplicates_and_repeated_runs_are_visible(
    counted: Told, plugins: Plugins, tmp_path: Path
) -> None:
    start = {"started_at": "2026-11-27T00:00:00.000+00:00"}
    later = {**run_again(counted, plugins, counted["seed"], 2.0), **start}
    other = {**counted, "log_tail": ["another"]}
    same, unlike, repeated = findings(tmp_path, plugins, counted, counted, other, later)
    assert (same.severity, same.about) == ("error", "duplicate")
    assert same.message.startswith("the same record as ")
    assert (unlike.severity, unlike.about) == ("error", "duplicate")
    assert unlike.message.startswith("the same trial, started at the same time, as ")
    assert (repeated.severity, repeated.about) == ("warning", "repeated")


def test_a_name_that_is_twice_in_an_object_is_found(
    told: Told, plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "records-x.jsonl"
    path.write_text(json.dumps(told)[:-1] + ', "seed": 3, "seed": 0}\n')
    found, _ = validate([path], plugins)
    assert [f.about for f in found if f.severity == "error"] == ["seed"]


def test_what_cannot_be_checked_is_a_warning(
    counted: Told, plugins: Plugins, tmp_path: Path
) -> None:
    def about(**changes: Any) -> set[tuple[Any, str]]:
        trial = {**counted["trial"], **changes}
        found = findings(tmp_path, plugins, {**counted, "trial": trial})
        return {(f.severity, f.about) for f in found} - {("error", "key")}

    assert about(task="elsewhere") == {("warning", "division")}
    assert about(task="elsewhere", division="open") >= {("warning", "task")}
    assert about(source="0" * 12) == {("warning", "task source")}
    assert about(max_epochs=10**7) == {("warning", "max_epochs")}
    scheduled = {**counted["trial"]["recipe"], "warmup": 10}
    assert ("warning", "parity") in about(recipe=scheduled)  # it was not rehearsed
    fingerprint = {name: counted["fingerprint"][name] for name in ("epoch", "loss", "accuracy")}
    for name, unknown in {
        "parity": {"passed": None},
        "judge": None,
        "fingerprint": fingerprint,
        "clock_share": None,
        "recompilations": {"times": 2, "seconds": 0.5},
    }.items():
        (unsure,) = findings(tmp_path, plugins, {**counted, name: unknown})
        assert (unsure.severity, unsure.about) == ("warning", name)


def test_one_wrong_token_may_be_the_certificates_one_in_a_thousand(
    counted: Told, plugins: Plugins, tmp_path: Path
) -> None:
    slip = json.loads(json.dumps(counted))
    slip["samples"][0]["predicted"][0] += 1
    (found,) = findings(tmp_path, plugins, slip)
    assert (found.severity, found.about) == ("warning", "samples")


def test_a_warning_of_many_records_is_told_once(
    counted: Told, plugins: Plugins, tmp_path: Path
) -> None:
    many = [run_again(counted, plugins, seed, 1.0 + seed) for seed in range(3)]
    for one in many:
        with_trial(max_epochs=10**7)(one)
    (found,) = findings(tmp_path, plugins, *many)
    assert (found.where, found.more) == (f"{tmp_path / 'records-x.jsonl'}:1", 2)


def with_recipe(record: Record, **changes: object) -> Record:
    fields = record.to_dict()
    fields["trial"]["recipe"].update(changes)
    return Record.from_dict(fields)


def test_a_closed_record_stays(closed: Record, plugins: Plugins) -> None:
    assert sorted_out([closed], plugins) == ([closed], [])


def test_a_tuned_one_moves_to_open_and_what_differs_is_named(
    closed: Record, plugins: Plugins
) -> None:
    forged = with_recipe(closed, units=256, learning_rate=0.02)
    (moved,), (why,) = sorted_out([forged], plugins)
    assert (moved.division, moved.trial.division) == ("open", "open")
    assert "recorded as closed, counts as open: units=256 instead of" in why
    assert "learning_rate=0.02 instead of 0.001" in why
    (unreadable,), (why,) = sorted_out([with_recipe(closed, units=0)], plugins)
    assert unreadable.division == "open"
    assert "its recipe is none" in why


def test_what_is_not_installed_here_is_taken_at_its_word(closed: Record, plugins: Plugins) -> None:
    forged = with_recipe(closed, units=256)
    elsewhere = changed(forged, trial={"source": "0" * 12})
    assert sorted_out([elsewhere], plugins) == ([elsewhere], [])


def test_the_table_shows_it_where_it_belongs(
    closed: Record, echobench: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    forged = with_recipe(closed, units=256)
    (folder / "records-x.jsonl").write_text(forged.to_json() + "\n")
    done = echobench("table", "--results", "elsewhere", "--format", "json")
    assert [row["division"] for row in json.loads(done.stdout)] == ["open"]
    assert "counts as open: units=256" in echobench("table", "--results", "elsewhere").stdout
