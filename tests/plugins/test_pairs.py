"""Pairs from a file: what is asked and answered, whatever the form of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from echobench.core.sequences import MISSING, stream
from echobench.plugin.manager import Plugins
from tests.plugins.cells import CHAT

PAIRS = [json.loads(line) for line in CHAT.read_text().splitlines()]


@pytest.fixture
def kind(plugins: Plugins) -> Any:
    return plugins.tasks["pairs"].value


def read(task: Any) -> list[tuple[list[Any], list[Any]]]:
    """Return all pairs as people read them, from the arrays that the network gets."""
    found = []
    for row in task.test_rows:
        (seen,), (asked,) = task.supervised(row)
        assert seen[-1] != MISSING  # the last step of the encoder sees a token
        spelt = ([*map(task.spell, part.tolist())] for part in (seen, asked))
        inputs, answer = ([token for token in part if token is not None] for part in spelt)
        found.append((inputs, answer))
    return found


def test_answers_end_with_their_mark(kind: Any) -> None:
    task = kind(path=str(CHAT))
    assert read(task) == [(asked, [*answer, "<end>"]) for asked, answer in PAIRS]
    assert (task.n_in, task.n_out) == (5, 6)
    words = {word for pair in PAIRS for part in pair for word in part}
    assert {*task.tokens} == {*words, "<end>"}


def test_a_table_of_two_columns_holds_the_same_pairs(kind: Any, tmp_path: Path) -> None:
    lines = [[" ".join(part) for part in pair] for pair in PAIRS]
    (tmp_path / "x.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    quoted = [",".join(json.dumps(part) for part in line) for line in lines]
    (tmp_path / "x.csv").write_text("\n".join(quoted))
    expected = read(kind(path=str(CHAT)))
    assert read(kind(path=str(tmp_path / "x.tsv"))) == expected
    assert read(kind(path=str(tmp_path / "x.csv"))) == expected


def test_by_default_the_file_is_learnt_by_heart_and_the_task_says_so(kind: Any) -> None:
    task = kind(path=str(CHAT))
    trained = {row.tobytes() for row in task.sample(stream(0, "train"), 1000)}
    assert trained == {row.tobytes() for row in task.test_rows}
    assert task.is_test_trained_on
    apart = kind(path=str(CHAT), test_share=0.4)
    assert not apart.is_test_trained_on
    trained = {row.tobytes() for row in apart.sample(stream(0, "train"), 1000)}
    assert not trained & {row.tobytes() for row in apart.test_rows}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '[["a"], ["b"]]\n[["a"]]\n', r"line 2: expected an input and an answer.*1$"),
        ("x.jsonl", '[["a"], ["b"]]\n[["a"], []]\n', r"line 2: .* token in its answer$"),
        ("x.jsonl", '[["a"], ["<end>"]]\n', r"line 1: expected no token <end>"),
        ("x.txt", "How are you\n", r"line 1: expected an input and an answer.*\.csv or \.tsv"),
        ("x.jsonl", '[["a"], ["b"]]\n', "at least two different sequences; x.jsonl has one"),
    ],
)
def test_what_is_no_pair_is_refused_by_its_line(
    name: str, content: str, message: str, kind: Any, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValidationError) as caught:
        kind(path=str(tmp_path / name))
    (problem,) = caught.value.errors()
    assert re.search(message, problem["msg"])
    assert "\n" not in problem["msg"]
