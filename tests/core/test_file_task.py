"""Sequences from a file: split, encoded, and answered whole."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from echobench import FileTask, Form, Network, Recipe
from echobench.core import target
from echobench.core.sequences import MISSING, Integers, stream
from echobench.plugin.manager import Plugins
from tests.probes.coverage import Learner


class Lines(FileTask):
    """Echo the lines of a file."""

    name: ClassVar[str] = "lines"
    recipes: ClassVar[dict[str, Recipe]] = {}

    def network(self, form: Form, units: int) -> Network:
        raise NotImplementedError


def lines(folder: Path, text: str | bytes, name: str = "x.txt", **fields: Any) -> Lines:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Lines.model_validate({"path": str(path), **fields})


def spelt(task: FileTask, row: Integers) -> tuple[list[Any], list[Any]]:
    """Return input and answer of a row, as people read them, without what is missing."""
    (seen,), (asked,) = task.supervised(row)
    return tuple(  # type: ignore[return-value] # of two
        [word for word in map(task.spell, part.tolist()) if word is not None]
        for part in (seen, asked)
    )


COUNTS = "\n".join(f"{k} {k * k % 97} {k % 5}" + " 4" * (k % 3) for k in range(500))


def test_rows_hold_the_lines_inputs_to_the_right_and_answers_to_the_left(tmp_path: Path) -> None:
    task = lines(tmp_path, "b a\nc d e\n", test_share=0)
    assert (task.n_in, task.n_out, task.tokens) == (3, 3, ("a", "b", "c", "d", "e"))
    assert task.test_rows.tolist() == [
        [MISSING, 1, 0, 1, 0, MISSING],
        [2, 3, 4, 2, 3, 4],
    ]
    assert task.expected(task.test_rows).tolist() == [[[1, 0, MISSING]], [[2, 3, 4]]]


def test_integers_are_tokens_by_their_size(tmp_path: Path) -> None:
    task = lines(tmp_path, "10,9\n-3,10,100\n", "x.csv", test_share=0)
    assert task.tokens == (-3, 9, 10, 100)
    assert spelt(task, task.test_rows[1]) == ([-3, 10, 100], [-3, 10, 100])
    assert task.spell(MISSING) is None


def test_a_hash_of_each_input_splits_and_none_is_on_both_sides(tmp_path: Path) -> None:
    task = lines(tmp_path, COUNTS)
    held_out = {tuple(spelt(task, row)[0]) for row in task.test_rows}
    drawn = task.sample(stream(0, "train"), 20_000)
    trained = {tuple(spelt(task, row)[0]) for row in drawn}
    everything = {tuple(map(int, line.split())) for line in COUNTS.splitlines()}
    assert held_out | trained == everything
    assert not held_out & trained
    # Told once more by hand: the first 32 bits of SHA-256, below a fifth of their range.
    assert held_out == {
        row
        for row in everything
        if int(hashlib.sha256("\0".join(map(str, row)).encode()).hexdigest()[:8], 16) < 2**32 / 5
    }
    # Binomial with n = 500: six standard deviations are 54.
    assert abs(len(held_out) - 100) < 54


def test_every_stream_that_evaluates_draws_from_the_test_side(tmp_path: Path) -> None:
    task = lines(tmp_path, COUNTS)
    test = {row.tobytes() for row in task.test_rows}
    for name in ("screen", "certify", "measure", "samples", "predict", "judge", "train", "parity"):
        rows = task.sample(stream(1, name), 300)
        assert {row.tobytes() in test for row in rows} == {not stream(1, name).for_training}, name
    rng = stream(1, "train")
    parts = np.concatenate([task.sample(rng, count) for count in (1, 7, 2)])
    np.testing.assert_array_equal(parts, task.sample(stream(1, "train"), 10))


def test_lines_that_are_added_leave_the_others_on_their_side(tmp_path: Path) -> None:
    few = lines(tmp_path, COUNTS)
    more = lines(tmp_path, "1 2\n" + COUNTS + "\n" + "\n".join(f"w{k}" for k in range(99)), "y.txt")

    def side(task: Lines) -> set[tuple[str, ...]]:
        return {tuple(map(str, spelt(task, row)[0])) for row in task.test_rows}

    assert side(few) < side(more)
    assert {row for row in side(more) - side(few) if not row[0].startswith("w")} <= {("1", "2")}


def test_equal_lines_are_trained_on_as_often_as_they_are_there_and_tested_once(
    tmp_path: Path,
) -> None:
    task = lines(tmp_path, "a\na\na\nb\n", test_share=0)
    assert len(task.test_rows) == 2
    drawn = Counter(task.sample(stream(0, "train"), 4000)[:, 0].tolist())
    # Binomial with n = 4,000 and p = 3/4: six standard deviations are 164.
    assert abs(drawn[0] - 3000) < 164


@pytest.mark.parametrize("count", [2, 49, 50, 51, 120])
def test_each_row_of_a_test_set_counts_once_whatever_their_number(
    count: int, tmp_path: Path
) -> None:
    task = lines(tmp_path, "\n".join(f"w{k} x" for k in range(count)), test_share=0)
    right = target.score(task, task.expected, stream(0, "measure"), 7)
    assert (right.sequences, right.tokens, right.wrong_tokens) == (count, 2 * count, 0)
    asked: list[Integers] = []

    def last_wrong(rows: Integers) -> Integers:
        asked.append(rows)
        answers = task.expected(rows)
        return np.where((rows == task.test_rows[-1]).all(axis=1)[:, None, None], -2, answers)

    score = target.score(task, last_wrong, stream(0, "screen"), 7)
    assert (score.wrong_sequences, score.wrong_tokens) == (1, 2)
    assert {len(rows) for rows in asked} == {target.BLOCK}  # one shape, compiled once


def test_a_task_that_makes_rows_up_is_scored_as_before(plugins: Plugins) -> None:
    task = plugins.tasks["partial"].value()
    assert task.test_rows is None
    assert target.score(task, Learner(task, 0.0), stream(0, "screen"), 70).sequences == 70


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("", {}, r"at least two different sequences; x\.txt has none"),
        ("a b\n", {}, r"at least two different sequences; x\.txt has one"),
        ("a b\n" * 9, {}, "has 9 that are all equal"),
        ("a b\nc\n", {"symbols": 2}, r"expected 2 to symbols=2 different tokens, .* x\.txt has 3"),
        (
            "a b\nc\n",
            {"test_share": 1e-9},
            r"2 different ones of x\.txt none is on the test",
        ),
        ("a b\nc\n", {"test_share": 0.999999999}, "none is on the training side"),
        (
            "a b\n" * 9000 + "a " * 9000,
            {"test_share": 0},
            "9,001 lines of up to 18,000: split line 9001",
        ),
        (b"\xff", {}, r"x\.txt, line 1: expected text in UTF-8"),
    ],
)
def test_a_file_of_which_nothing_can_be_learnt(
    text: str | bytes, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match=message):
        lines(tmp_path, text, **fields)


class Halves(Lines):
    """Answer the second half of a line to the first."""

    def example(self, cells: list[Any]) -> tuple[list[Any], list[Any]]:
        if len(cells) % 2:
            raise ValueError(f"expected an even number of tokens; received {len(cells)}")
        return cells[: len(cells) // 2], cells[len(cells) // 2 :]


def test_a_task_of_ones_own_refuses_a_line_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a b\n\nc d e\n")
    with pytest.raises(ValidationError, match=r"x\.txt, line 3: expected an even number.*3"):
        Halves.model_validate({"path": str(tmp_path / "x.txt")})


def test_a_truth_value_is_no_token_which_would_equal_an_integer_on_the_other_side(
    tmp_path: Path,
) -> None:
    class Truths(Lines):
        """Echo lines, every other with a truth value in the place of 1."""

        def example(self, cells: list[Any]) -> tuple[list[Any], list[Any]]:
            return [cells[0] == 1 if cells[1] else cells[0]], [2]

    (tmp_path / "x.csv").write_text("1,0\n1,1\n2,0\n")
    with pytest.raises(ValidationError, match=r"x\.csv, line 2: .* words; received True"):
        Truths.model_validate({"path": str(tmp_path / "x.csv"), "test_share": 0.5})


def test_two_answers_to_one_input_are_told_with_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a 1\nb 2\na 3\na 1\nc 1\n")
    task = Halves.model_validate({"path": str(path), "test_share": 0})
    (doubt,) = task.doubts()
    assert "lines 1 and 3 of x.txt answer 'a' differently" in doubt
    assert "at most 3 of the 4 test sequences" in doubt

    def best(rows: Integers) -> Integers:  # whoever answers an input in one way only
        answers = {int(row[0]): row[1] for row in rows}
        return np.array([[[answers[int(row[0])]]] for row in rows])

    assert target.score(task, best, stream(0, "screen"), 1).exact_match == 0.75


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q a\nq a b\nr c\n", None),  # a b is right for both: after a, nothing counts
        ("q a\nq a b\nq a c\nr b\n", "lines 2 and 3 of x.txt answer 'q' .* 3 of the 4 "),
        ("q z\nq x\nq x y\nr b\n", "lines 1 and 3 of x.txt answer 'q' .* 3 of the 4 "),
        ("q z\nq x\nr a\nr b\nr c\n", "lines 1 and 2 of x.txt answer 'q' .* 2 of the 5 "),
    ],
)
def test_of_answers_without_an_end_the_longest_is_right_for_its_beginnings(
    text: str, said: str | None, tmp_path: Path
) -> None:
    class Rest(Lines):
        """Answer a line's first token with the others."""

        def example(self, cells: list[Any]) -> tuple[list[Any], list[Any]]:
            return cells[:1], cells[1:]

    (tmp_path / "x.txt").write_text(text)
    doubts = Rest.model_validate({"path": str(tmp_path / "x.txt"), "test_share": 0}).doubts()
    assert len(doubts) == (said is not None)
    assert said is None or re.search(said, doubts[0])


def test_what_training_never_shows_is_told(tmp_path: Path) -> None:
    task = lines(tmp_path, "\n".join(f"w{k} x" for k in range(40)))
    (doubt,) = task.doubts()
    assert f"the test asks for {len(task.test_rows)} tokens, such as" in doubt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7 1\n8 007\n7 2\n", ["'7' in line 1 and '007' in line 2: both are read as 7"]),
        ("3 1\n8 \u0663\n", ["'3' in line 1 and '\u0663' in line 2: both are read as 3"]),
        ("7 1\n8 007 x\n", []),  # words
        ("007 1\n8 007\n", []),
    ],
)
def test_an_integer_that_is_spelt_in_two_ways_is_told(
    text: str, said: list[str], tmp_path: Path
) -> None:
    doubts = lines(tmp_path, text, test_share=0).doubts()
    assert [one.partition("two ways, ")[2] for one in doubts if "two ways" in one] == said


def test_a_word_among_integers_is_told(tmp_path: Path) -> None:
    task = lines(tmp_path, "1,2\n3,x\n4,5\n", "x.csv", test_share=0)
    assert task.doubts() == [
        "1 of the 6 tokens of x.csv are no integers, such as 'x' in line 2; all are read as words"
    ]
    assert task.tokens == ("1", "2", "3", "4", "5", "x")
