"""Tables: nothing disappears or is made up; groups, order and what is best, against pandas."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import binomtest

from echobench.analysis import frame, table
from echobench.analysis.footnotes import conditions, variants
from echobench.errors import UnknownNameError
from echobench.present import table as present
from echobench.present.further import Further
from echobench.present.sentences import _command, verdicts
from echobench.present.terminal import MARK
from echobench.trial.record import Fingerprint, Judgement, Parity, Recompilations, Record
from tests.records import RESULTS, changed, missed, reached, record, rows

FIRST_FIELDS = """
task backend engine division device seed status reason time_to_target_s last_miss_s
updates_to_target epochs_to_target seconds_per_update sequences_per_s accuracy exact_match
certified_sequences error_bound accuracy_at_tutorial_epochs import_s build_s compile_s
first_update_s train_s eval_s wall_s peak_memory_bytes limit_fraction started_at
""".split()  # noqa: SIM905 # as the documentation has them


def printed(records: list[Record], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(present.terminal(table.grouped(records), width))
    return console.export_text()


def with_backend(backend: str, *records: Record, **trial: Any) -> list[Record]:
    return [changed(one, backend=backend, trial=trial) for one in records]


def marked(records: Any, **options: Any) -> set[tuple[str, ...]]:
    """Return the names of rows with a mark, and the column that has it."""
    return {
        (*(line[name] for name in frame.CELL[:4]), name)
        for line in present.lines(table.grouped(records, **options))
        for name, text in line.items()
        if text.startswith(MARK)
    }


def test_json_has_the_documented_fields_in_order() -> None:
    (row,) = json.loads("".join(present.render(present.ordered([reached(0, 1.5)]), "json")))
    assert list(row)[: len(FIRST_FIELDS)] == FIRST_FIELDS
    assert row["time_to_target_s"] == 1.5
    assert row["peak_memory_bytes"] is None


def test_csv_has_a_line_a_trial_and_empty_for_not_measured() -> None:
    text = "".join(present.render(present.ordered([reached(1, 2.0), missed(0, 1.0)]), "csv"))
    first, second = csv.DictReader(io.StringIO(text))
    assert list(first)[: len(FIRST_FIELDS)] == FIRST_FIELDS
    assert [first["seed"], second["seed"]] == ["0", "1"]
    assert first["time_to_target_s"] == ""
    assert second["time_to_target_s"] == "2.0"


def test_without_misses_the_median_is_the_samples() -> None:
    (line,) = table.summary([reached(seed, s) for seed, s in enumerate([1.0, 5.0, 2.0])])
    assert line["success"] == "3/3"
    assert line["time to target"] == "2 s"
    (line,) = table.summary([reached(seed, s) for seed, s in enumerate([1.0, 5.0, 2.0, 4.0])])
    assert line["time to target"] == "3 s"  # the middle of the two in the middle


def test_a_miss_is_censored_and_moves_the_median() -> None:
    # Kaplan-Meier by hand: 4 at risk at 1 (3/4 left), one censored at 1.5,
    # 2 at risk at 2 (3/8 left): the median is 2.
    records = [reached(0, 1.0), missed(1, 1.5), reached(2, 2.0), reached(3, 4.0)]
    (line,) = table.summary(records)
    assert line["success"] == "3/4"
    assert line["time to target"] == "2 s"


def trials(count: int, **fields: Any) -> list[Record]:
    return [
        changed(reached(seed, 1.0 + seed), **{name: f(seed) for name, f in fields.items()})
        for seed in range(count)
    ]


def test_all_brackets_of_a_row_are_intervals_of_one_kind_from_six_trials_on() -> None:
    fields: dict[str, Any] = {
        "updates_to_target": lambda seed: 10 * (seed + 1),
        "seconds_per_update": lambda seed: 1e-3 * (seed + 1),
        "compile_s": lambda seed: 1.0 + seed,
        "sequences_per_s": lambda seed: 1000.0 / (seed + 1),
    }
    (few,) = table.summary(trials(5, **fields))
    # What the judge found is an error rate's interval, whatever the number of trials.
    assert [name for name, text in few.items() if "[" in text] == [table.JUDGED]
    (line,) = table.summary(trials(9, **fields))
    # The exact interval of the median of nine: the second and the eighth (Conover's table).
    assert line["time to target"] == "5 s [2 s, 8 s]"
    assert line["updates to target"] == "50 [20, 80]"
    assert line["ms/update"] == "5 [2, 8]"
    assert line["compile"] == "5.0 s [2.0 s, 8.0 s]"
    assert line["sequences/s"] == "200 [125, 500]"  # of a rate it is that of the time


def test_updates_to_target_count_misses_as_the_time_does() -> None:
    # Four reach it at 1 to 4, three miss after 5: the fourth of seven is the median.
    hits = trials(4, updates_to_target=lambda seed: 100 * (seed + 1), epochs=lambda seed: 9)
    misses = [
        changed(missed(seed, 5.0), updates=500, epochs=50, updates_to_target=None)
        for seed in (4, 5, 6)
    ]
    (line,) = table.summary([*hits, *misses])
    assert line["success"] == "4/7"
    assert line["time to target"] == "4 s [1 s, > 4 s]"
    assert line["updates to target"] == "400 [100, > 400]"


def test_a_trial_that_crashed_is_one_of_n_and_never_arrives() -> None:
    hits = [reached(seed, 1.0 + seed) for seed in range(4)]
    crash = record(4, status="failed", reason="the worker was ended by SIGSEGV")
    (line,) = table.summary([*hits, crash])
    assert (line["success"], line["time to target"]) == ("4/5", "3 s")
    assert line["note"] == "the worker was ended by SIGSEGV"
    for reason in (
        "killed: used 2 GB, more than --memory-limit 1 GB",
        "lost 3 times with its machine: gone",
        "no process could be started: OSError: no memory",
    ):
        (line,) = table.summary([*hits, changed(crash, reason=reason)])
        assert (line["success"], line["time to target"]) == ("4/4", "2.5 s")


def test_a_trial_whose_loss_stopped_being_finite_never_arrives() -> None:
    hits = [reached(seed, 1.0 + seed) for seed in range(4)]
    early = changed(missed(9, 0.1), diverged_epoch=3)
    (line,) = table.summary([*hits, early])
    # Had it been given up at 0.1 s it would say nothing, and the median were 2.5 s.
    assert (line["success"], line["time to target"]) == ("4/5", "3 s")


def test_where_most_miss_the_median_is_beyond_what_was_seen() -> None:
    records = [reached(0, 1.0), missed(1, 9.0), missed(2, 9.0), missed(3, 9.0)]
    (line,) = table.summary(records)
    assert line["success"] == "1/4"
    assert line["time to target"].startswith("> 1 s")
    assert line["note"] == "missed (3 trials)"


def test_a_cell_without_any_result_keeps_its_row_and_reason() -> None:
    (line,) = table.summary([record(0, status="unavailable", reason="torch not installed")])
    assert (line["success"], line["time to target"]) == ("0/0", "")
    assert line["note"] == "torch not installed"


def test_disturbed_trials_and_shares_above_the_limit_are_noted() -> None:
    paces = [1.0, 1.0, 1.0, 1.5]
    records = [
        changed(reached(n, 1.0), seconds_per_update=pace, limit_fraction=pace / 2 + 0.4)
        for n, pace in enumerate(paces)
    ]
    (line,) = table.summary(records)
    assert line["of limit"] == "90%"
    assert line["note"] == (
        "above the measured matrix rate; disturbed: updates took 1.50x the median of its cell"
    )


def test_what_nobody_checked_is_noted() -> None:
    taken = Fingerprint(epoch=1, loss=4.0)
    compared = Fingerprint(epoch=1, loss=4.0, reference="jax fit", reference_loss=4.0, passed=True)
    judge = Judgement(by="keras", wrong=0, sequences=10_000)
    sound = changed(reached(0, 1.0), fingerprint=compared, judge=judge)
    crashed = changed(sound, key="crashed", judge=Judgement(by="keras", failure="SIGKILL"))
    unchecked = changed(sound, key="unchecked", fingerprint=taken, judge=None)
    gave_up = changed(missed(1, 1.0), fingerprint=compared)

    def note(*records: Record) -> str:
        (line,) = table.summary([*records])
        return str(line.get("note", ""))

    assert "not" not in note(sound)
    assert "not" not in note(sound, gave_up)
    assert note(sound, crashed) == "not judged"
    assert note(unchecked) == "not judged; fingerprint not compared"


@pytest.mark.parametrize("other", [{"bound": 0.0, "certify": 1000}, {"bound": 0.5}])
def test_rows_whose_certificates_need_less_are_not_compared(other: dict[str, Any]) -> None:
    ours = [*trials(6), *with_backend("slow", *(reached(seed, 3.0) for seed in range(6)))]
    easy = [changed(one, key=f"easy-{n}", trial=other) for n, one in enumerate(ours[:6])]
    groups = [
        sorted((row.cell.backend, row.cell.bound) for row in group.rows)
        for group in table.grouped([*ours, *easy])
    ]
    assert sorted(groups, key=len) == [
        [("jax", other["bound"])],
        [("jax", 0.003), ("slow", 0.003)],
    ]


def test_trials_on_hyperthreads_make_rows_of_their_own() -> None:
    apart = [record(seed, trial={"smt": smt}) for smt in (False, True) for seed in range(6)]
    made = table.cells(apart)
    assert [row.place["smt"] for row in made] == ["False", "True"]
    assert len(variants(frame.frame(apart))) == 2
    one, other = (_command([row], Further(6, None, 0), None) for row in made)
    assert one + " --smt" == other


def test_trials_side_by_side_are_ranked_among_their_like() -> None:
    apart = [
        changed(one, key=f"{one.key}-{jobs}", trial={"side_by_side": jobs})
        for jobs in (1, 2)
        for one in trials(6)
    ]
    groups = table.grouped(apart)
    assert [[row.cell.side_by_side for row in group.rows] for group in groups] == [[1], [2]]
    assert not any(group.best for group in groups)  # there is nothing to compare it with
    assert [sentence.partition(" (")[2] for sentence in verdicts(groups)] == [
        "closed, 1 side by side)", "closed, 2 side by side)"
    ]  # fmt: skip # one line reads better
    made = [row for group in groups for row in group.rows]
    one, two = (_command([row], Further(6, None, 0), None) for row in made)
    assert two == one.replace("--threads 2", "--threads 2 --jobs 2")
    (told,) = conditions(frame.frame(apart))
    assert told.endswith(": 2 jobs side by side (--jobs)")
    assert not conditions(frame.frame(apart), present.shown(groups))


def test_other_versions_make_rows_of_their_own() -> None:
    old = reached(0, 1.0)
    new = changed(old, key="new", trial={"versions": {"jax": "9"}})
    assert len(table.summary([old, new])) == 2


def test_a_cell_that_failed_the_parity_gate_keeps_no_figure() -> None:
    parity = Parity(
        passed=False, reference="jax fit", updates=20, tolerance=1e-5, largest_difference=0.002
    )
    bad = changed(reached(0, 1.0), parity=parity)
    (row,) = rows([bad])
    assert row["status"] == "failed"
    assert row["time_to_target_s"] is None
    assert "parity gate: first losses differ from jax fit by 2.0e-03" in row["reason"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_stay_whole_and_what_does_not_fit_is_named(width: int) -> None:
    records = [
        changed(
            reached(seed, 1.0 + seed),
            accuracy=1.0,
            wall_s=2.0,
            compile_s=1.0,
            seconds_per_update=1e-3,
        )
        for seed in range(3)
    ]
    text = printed(records, width)
    assert max(map(len, text.splitlines())) <= width
    assert "partial" in text
    assert "closed" in text
    for column in ("accuracy", "wall", "compile"):
        assert column in text


def test_the_best_by_time_is_pandas_smallest_median() -> None:
    flat = frame.load(RESULTS / "open")
    assert (flat.status == "reached").all()  # so that the median needs no censoring
    cells = flat.groupby(frame.CELL[:4], observed=True)["time_to_target_s"]
    medians = cells.median().reset_index()
    first = medians.loc[
        medians.groupby(["task", "division"], observed=True)["time_to_target_s"].idxmin()
    ]
    expected = {(*row[:4], "time to target") for row in first.itertuples(index=False)}
    assert marked(flat) == expected


@pytest.mark.parametrize("group_by", [("task", "division"), ("backend",), ("engine", "task")])
def test_where_nobody_reached_it_updates_decide(group_by: tuple[str, ...]) -> None:
    flat = frame.load(RESULTS / "speed")
    assert not (flat.status == "reached").any()
    medians = flat.groupby(frame.CELL[:4], observed=True).seconds_per_update.median().reset_index()
    groups = medians.groupby([*group_by], observed=True).seconds_per_update
    several = medians[groups.transform("size") > 1]
    first = several.loc[several.groupby([*group_by], observed=True).seconds_per_update.idxmin()]
    expected = {(*row[:4], "ms/update") for row in first.itertuples(index=False)}
    assert marked(flat, group_by=group_by) == expected


def test_the_clock_decides() -> None:
    flat = frame.load(RESULTS / "open")
    assert ("whole", "torch-native", "native", "open", "time to target") in marked(
        flat, clock="wall"
    )
    assert ("whole", "jax", "fused", "open", "time to target") in marked(flat, clock="train")


def test_divisions_machines_and_replicates_are_never_ranked_together() -> None:
    ours = reached(0, 1.0)
    others = [
        changed(ours, division="open", key="b"),
        changed(ours, provenance={"machine": {"cpu": "other"}}, key="c"),
        changed(ours, trial={"replicates": 4}, key="d"),
        changed(ours, trial={"environment": {"TZ": "UTC"}}, key="e"),
    ]
    groups = table.grouped([ours, *others], group_by=("task",))
    assert [len(group.rows) for group in groups] == [1, 1, 1, 1, 1]
    shown = [line for line in present.lines(groups) if line["environment"]]
    # Said once.
    assert [(line["environment"], line["note"]) for line in shown] == [("TZ=UTC", "")]
    assert marked([ours, *others], group_by=("task",)) == set()


def test_who_mostly_missed_comes_after_who_reached_it() -> None:
    rare = with_backend("rare", reached(0, 0.1), *(missed(seed, 9.0) for seed in (1, 2, 3)))
    never = with_backend("never", missed(0, 9.0), threads=1)
    slow = with_backend("slow", reached(0, 5.0))
    broken = with_backend("broken", record(status="failed", reason="it broke"))
    (group,) = table.grouped([*never, *rare, *slow, *broken])
    assert [row.place["backend"] for row in group.order] == ["slow", "rare", "never"]
    assert [row.place["backend"] for row in group.rows] == ["broken", "never", "rare", "slow"]


def test_rows_are_sorted_and_what_is_missing_comes_last() -> None:
    flat = frame.load(RESULTS / "speed")
    for sort, ascending in (("ms/update", True), ("-ms/update", False)):
        for group in table.grouped(flat, sort=sort):
            values = pd.Series([row.values["ms/update"] for row in group.rows])
            assert values.is_monotonic_increasing if ascending else values.is_monotonic_decreasing
    rows = [*with_backend("a", record(status="failed")), *with_backend("b", reached(0, 1.0))]
    for sort in ("time to target", "-time to target"):
        (group,) = table.grouped(rows, sort=sort)
        assert [row.place["backend"] for row in group.rows] == ["b", "a"]
    with pytest.raises(UnknownNameError, match="did you mean 'ms/update'"):
        table.grouped(rows, sort="ms/updat")
    with pytest.raises(UnknownNameError, match="did you mean 'backend'"):
        table.grouped(rows, group_by=("backends",))


@pytest.mark.parametrize("name", ["seconds_per_update", "-seconds_per_update", "reason"])
def test_flat_rows_are_sorted_as_pandas_sorts(name: str) -> None:
    flat = frame.load(RESULTS / "matrix")
    found = present.ordered(flat, ["division"], name)
    field = name.removeprefix("-")
    for _, group in found.groupby("division", observed=True):
        there = group[field].dropna()
        assert list(there) == sorted(there, reverse=name != field)
        assert group[field].isna().tolist() == sorted(group[field].isna())
    assert found.division.is_monotonic_increasing or found.division.nunique() == 1


@pytest.mark.parametrize("folder", ["speed", "tasks", "matrix"])
def test_however_narrow_names_counts_and_figures_are_there(folder: str) -> None:
    groups = table.grouped(frame.load(RESULTS / folder))
    for width in (40, 60, 80, 100, 130):
        console = Console(width=width, file=io.StringIO(), record=True)
        console.print(present.terminal(groups, width))
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width
        words = {word.strip(";,:") for word in text.split()}
        for row, by in ((row, group.by) for group in groups for row in group.rows):
            assert {row.place["backend"], row.line["success"]} <= words
            assert {*row.line[by].split()[:1]} <= words


def test_what_strangers_wrote_commands_no_terminal_and_no_page() -> None:
    bad = record(status="failed", reason="\x1b[2Jgone | <script>alert(1)</script>\n[red]x")
    text = printed([bad, *with_backend("jax2", reached(0, 1.0))], 130)
    assert "\x1b" not in text
    assert r"\x1b[2Jgone" in text
    written = present.written(present.lines(table.grouped([bad])), "md")
    assert len(written.splitlines()) == 3
    assert "<script" not in written
    assert "gone \\| &lt;script&gt;" in written


def test_what_the_judge_found_is_summed_over_the_trials_with_an_exact_interval() -> None:
    judgements = [
        {"by": "x", "sequences": 10_000, "wrong": wrong, "certificate_wrong": 0} for wrong in (4, 9)
    ]
    records = [
        *(record(seed, judge=judge) for seed, judge in enumerate(judgements)),
        record(2, judge=None),  # not of the sum
    ]
    (line,) = table.summary(records)
    assert line["note"] == "not judged"
    low, high = binomtest(13, 20_000).proportion_ci(0.95, method="exact")
    assert line["judged wrong"] == f"13 of 20,000 [{low:.1e}, {high:.1e}]"
    refuted = {**judgements[0], "wrong": 9_999, "refuted": "9,999 come out wrong"}
    (line,) = table.summary([records[0], record(1, judge=refuted)])
    assert line["judged wrong"].startswith("4 of 10,000 ")
    assert line["success"] == "1/1"
    assert "refuted" not in line["note"]
    assert "judge: 9,999 come out wrong" in line["note"]


def test_certificates_of_another_bound_are_compared_with_none() -> None:
    strict = {"bound": 0.001}
    records = [
        *(record(seed, backend=name) for name in ("jax", "flax") for seed in range(2)),
        record(0, backend="jax", trial=strict, error_bound=0.001),
    ]
    groups = table.grouped(records)
    assert [[row.place["bound"] for row in group.rows] for group in groups] == [
        ["0.001"],
        ["0.003", "0.003"],
    ]
    assert {line["bound"] for line in present.lines(groups)} == {"0.001", "0.003"}
    old = table.grouped([*records[:4], record(0, trial={"bound": 0.0, "certify": 1000})])
    assert [group.rows[0].place["bound"] for group in old] == ["0.003", "old rule"]


@pytest.mark.parametrize(
    ("test_set", "told"),
    [
        ("held out", "all 412 test sequences, and nothing of others"),
        ("trained on", "all 412 test sequences, which it was trained on, and nothing of others"),
    ],
)
def test_a_certificate_of_a_whole_test_set_is_no_bound(test_set: str, told: str) -> None:
    trial = {"bound": 0.0, "screen": 412, "test_set": test_set}
    judge = {"by": "plain Keras", "certificate_wrong": 0, "sequences": 412, "wrong": 0}
    whole = [record(seed, trial=trial, judge=judge, backend="flax") for seed in range(2)]
    drawn = record(0, error_bound=0.003, backend="jax")
    groups = table.grouped([*whole, drawn])
    rows = {row.line["backend"]: row for group in groups for row in group.rows}
    assert len(groups) == 2  # neither is ranked beside the other
    assert (rows["flax"].line["error bound"], rows["flax"].place["bound"]) == (
        "exact, of 412",
        "exact",
    )
    assert rows["flax"].line["judged wrong"] == "0 of 824"
    assert (rows["jax"].line["error bound"], rows["jax"].place["bound"]) == ("3.0e-03", "0.003")
    assert conditions([*whole, drawn]) == [f"{rows['flax'].cell}: certificates say: {told}"]
    assert not any(one.unjudged for one in whole)
    assert changed(whole[0], judge=None).unjudged
    missed = [changed(one, status="missed") for one in whole]
    assert conditions(missed) == []


def test_a_column_that_was_asked_for_is_never_left_out() -> None:
    groups = table.grouped(frame.load(RESULTS / "open"), sort="sequences/s")
    for asked in ([], ["sequences/s"], ["wall", "units"]):
        for width in (60, 80):
            console = Console(width=width, record=True, file=io.StringIO())
            console.print(present.terminal(groups, width, asked))
            shown, _, left_out = console.export_text().partition("not shown for lack of room")
            hidden = {name.strip() for name in " ".join(left_out[1:].split()).split(",")}
            assert not hidden & {*asked}
            assert asked or "sequences/s" in hidden
            if "sequences/s" in asked:
                assert groups[0].rows[0].line["sequences/s"].split()[0] in shown


def test_variables_are_told_once() -> None:
    long = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=false --xla_cpu_multi_thread_eigen=false"}
    given = changed(reached(0, 1.0), trial={"environment": long}, key="b")
    for width in (60, 80, 130):
        text = printed([reached(0, 1.0), given], width)
        assert text.count("XLA_FLAGS") == 1
        assert "XLA_FLAGS=--xla_cpu_e…_eigen=false" in text
    groups = table.grouped([reached(0, 1.0), given])
    assert present.shown(groups) == []  # a note has the whole value
    short = changed(given, trial={"environment": {"TZ": "UTC"}})
    assert present.shown(table.grouped([reached(0, 1.0), short])) == ["environment"]
    assert present.shown(table.grouped([short])) == []  # no column has it


def test_what_disturbed_trials_is_named_in_the_note() -> None:
    throttled = {"path": {"throttled_share": 0.34}}
    records = [record(seed, provenance=throttled) for seed in range(4)]
    assert (
        table.summary(records[:1])[0]["note"] == "disturbed: throttled by quota for 34% of training"
    )
    (line,) = table.summary(records)
    assert line["note"] == "disturbed (4 trials): throttled by quota for 34% of training"


def test_a_note_says_whether_kept_programs_were_used() -> None:
    def kept(seed: int, found: int | None, added: int | None = None) -> Record:
        if added is None:
            added = 0 if found else 3
        cache = None if found is None else {"found": found, "added": added}
        return record(seed, trial={"cache": True}, provenance={"cache": cache})

    def note(*found: int | None) -> str:
        return table.summary([kept(*one) for one in enumerate(found)])[0]["note"]

    assert note(0) == note(0, 0) == note(None) == "compiled programs kept"
    assert note(3) == note(3, 2) == "kept programs used"
    assert note(0, 3, 3) == "compiled programs kept; kept programs used (2 trials)"
    # Another cell's programs are in the folder; this one compiled its own.
    assert table.summary([kept(0, 5, 4)])[0]["note"] == "compiled programs kept"
    (line,) = table.summary([record(0)])
    assert "programs" not in line["note"]


def test_of_a_smoke_run_the_table_says_how_it_ended_and_no_more() -> None:
    taken, quick = Fingerprint(epoch=1, loss=1.0), {"quick": True, "cache": True}
    doubtful: dict[str, Any] = {
        "fingerprint": taken,
        "recompilations": Recompilations(times=2, seconds=1.0),
        "provenance": {"path": {"throttled_share": 0.34}},
    }
    for status in ("reached", "missed"):
        (line,) = table.summary([record(0, status=status, trial=quick, **doubtful)])
        assert (line["success"], line["note"]) == ("", "smoke run")
    failed = [record(seed, status="failed", reason="killed", trial=quick) for seed in (0, 1)]
    parity = Parity(passed=None)
    (line,) = table.summary([*failed, record(2, status="missed", parity=parity, trial=quick)])
    assert line["note"] == "killed (2 trials); parity unchecked; smoke run"
