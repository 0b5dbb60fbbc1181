"""What is typed is framed as the task itself frames what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echobench.core import spelling
from echobench.core.sequences import MISSING, stream
from echobench.errors import UsageError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import SMALL

MORE = ("text", "lag[length=6]", "associative-recall", "masked[how=value,length=8]")


@pytest.mark.parametrize("selector", [*SMALL, *MORE])
def test_a_drawn_sample_typed_again_expects_what_the_task_does(
    selector: str, plugins: Plugins
) -> None:
    _, task, _ = resolve(selector, "open", plugins)
    names = spelling.token_names(task)
    rows = task.sample(stream(7, "predict"), 3)
    for row, answers in zip(rows, task.expected(rows), strict=True):
        for place, expected in zip(task.framing.inputs, answers, strict=True):
            words = [names[t] if t != MISSING else spelling.DOT for t in row[place].tolist()]
            found = spelling.read_sample(task, words)
            np.testing.assert_array_equal(found.tokens, row[place])
            np.testing.assert_array_equal(found.expected[found.known], expected[found.known])
            # Of an echo of what is seen all is known.
            assert found.known.all() or task.name in {"reverse", "associative-recall"}


def test_what_is_drawn_beside_the_input_is_not_known(plugins: Plugins) -> None:
    _, task, _ = resolve("associative-recall", "open", plugins)
    words = ["1", "9", "2", "10", "3", "11", "4", "12", "28", "28", "2"]
    assert not spelling.read_sample(task, words).known.any()


@pytest.mark.parametrize(
    ("selector", "words", "message"),
    [
        ("whole", "1 2 3", "5 tokens, integers of 0..99, as in: [0-9 ]+; received 3"),
        ("whole", "", "received none"),
        ("whole", "1 2 3 4 100", "received '100'"),
        ("whole", "1 2 3 4 -1", "received '-1'"),
        ("whole", "1 2 3 4 .", "received '.'"),
        ("reverse", "1 2", "10 tokens, integers of 0..99, or . for none, as in: .*received 2"),
        ("text", "How are you ? \x1b[2J", r"5 tokens, of 33, such as .*received '\\x1b\[2J'"),
    ],
)
def test_what_is_no_input_is_named(
    selector: str, words: str, message: str, plugins: Plugins
) -> None:
    _, task, _ = resolve(selector, "open", plugins)
    with pytest.raises(UsageError, match=message):
        spelling.read_sample(task, words.split())


def test_a_word_of_a_text_is_typed_as_it_is(plugins: Plugins) -> None:
    _, task, _ = resolve("text", "open", plugins)
    words = ["you", "are", "How", "?", "?"]
    expected = spelling.read_sample(task, words).expected.tolist()
    assert [*map(task.spell, expected)] == words


PAIRS = """[["hi", "."], ["a"]]
[["hi"], ["b", "a"]]
[[".", "hi"], ["c"]]
[["hi", "hi"], ["a"]]
[["hi", "hi"], ["a", "b"]]
"""


@pytest.mark.parametrize("share", [0, 0.5])
def test_what_a_file_says_is_known_and_its_own_dot_is_a_token(
    share: float, plugins: Plugins, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(PAIRS)
    kind = plugins.tasks["pairs"].value
    task = kind.model_validate({"path": str(tmp_path / "x.jsonl"), "test_share": share})

    def answer(*words: str) -> list[object]:
        found = spelling.read_sample(task, words)
        spelt = map(task.spell, found.expected.tolist())
        return [word if known else "?" for word, known in zip(spelt, found.known, strict=True)]

    assert answer("hi", ".") == ["a", "<end>", None]
    assert answer("..", "hi") == ["b", "a", "<end>"]
    assert answer(".", "hi") == ["c", "<end>", None]
    assert answer("hi", "hi") == ["a", "?", "?"]  # of two answers
    assert answer("a", "b") == ["?", "?", "?"]
    with pytest.raises(UsageError, match=r"or \.\. for none"):
        answer("hi", "no")
