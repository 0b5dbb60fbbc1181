"""Every task's data, told once more by hand: what is seen, and what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from echobench.core.sequences import MISSING, Integers, stream
from echobench.core.task import Task
from echobench.errors import UsageError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import CHAT


def make(plugins: Plugins, name: str, **parameters: Any) -> Task:
    return plugins.tasks[name].value(**parameters)


def drawn(task: Task, count: int = 200) -> tuple[Integers, Integers, Integers]:
    """Return rows, and their inputs and answers, sample by sample."""
    rows = task.sample(stream(3, "train"), count)
    return rows, rows[:, task.framing.inputs], task.expected(rows)


@pytest.mark.parametrize("how", ["mask", "value"])
@pytest.mark.parametrize("n_out", [None, 2])
def test_masked_keeps_the_rows_that_pandas_shift_leaves_incomplete(
    how: str, n_out: int | None, plugins: Plugins
) -> None:
    task = make(plugins, "masked", how=how, n_out=n_out, length=9, n_in=4)
    rows, inputs, answers = drawn(task, 3)
    for row, seen, asked in zip(rows, inputs, answers, strict=True):
        series = pd.Series(row[:9])
        frame = pd.DataFrame({k: series.shift(k) for k in (3, 2, 1, 0)})
        assert len(frame) == len(seen) == 9
        value = MISSING if how == "mask" else 100
        np.testing.assert_array_equal(seen, frame.fillna(value).to_numpy())
        np.testing.assert_array_equal(asked, frame.fillna(MISSING).to_numpy()[:, : n_out or 4])
        x, y = task.supervised(row)
        np.testing.assert_array_equal(x, seen)
        np.testing.assert_array_equal(y, asked)
    assert task.vocabulary == (100 if how == "mask" else 101)


def test_lag_is_pandas_shift(plugins: Plugins) -> None:
    task = make(plugins, "lag", length=12, lag=4)
    rows, inputs, answers = drawn(task, 5)
    np.testing.assert_array_equal(inputs[:, 0], rows[:, :12])
    for row, asked in zip(rows, answers, strict=True):
        shifted = pd.Series(row[:12]).shift(4).fillna(MISSING).to_numpy()
        np.testing.assert_array_equal(asked[0], shifted)


def test_reverse_answers_backwards_whatever_the_length(plugins: Plugins) -> None:
    task = make(plugins, "reverse", shortest=2, longest=6)
    _, inputs, answers = drawn(task)
    lengths = set()
    for seen, asked in zip(inputs[:, 0].tolist(), answers[:, 0].tolist(), strict=True):
        tokens = [token for token in seen if token != MISSING]
        assert seen == [MISSING] * (6 - len(tokens)) + tokens
        assert asked == tokens[::-1] + [MISSING] * (6 - len(tokens))
        lengths.add(len(tokens))
    assert lengths == {2, 3, 4, 5, 6}


def test_copy_is_that_of_arjovsky_et_al(plugins: Plugins) -> None:
    task = make(plugins, "copy", symbols=8, items=10, blanks=20)
    _, inputs, answers = drawn(task)
    blank, mark = 8, 9
    for seen, asked in zip(inputs[:, 0].tolist(), answers[:, 0].tolist(), strict=True):
        assert len(seen) == len(asked) == 20 + 20
        assert seen[10:] == [blank] * 19 + [mark] + [blank] * 10
        assert asked == [blank] * 30 + seen[:10]
        assert max(seen[:10]) < 8
    assert task.vocabulary == 10


def test_repeat_copy_says_how_often_and_ends(plugins: Plugins) -> None:
    task = make(plugins, "repeat-copy", symbols=7, shortest=1, longest=4, repeats=3)
    _, inputs, answers = drawn(task)
    blank, end = 7, 8
    kinds = set()
    for seen, asked in zip(inputs[:, 0].tolist(), answers[:, 0].tolist(), strict=True):
        length = next(place for place, token in enumerate(seen) if token > end)
        times = seen[length] - end
        items = seen[:length]
        assert max(items) < 7
        assert set(seen[length + 1 :]) == {blank}
        answer = [MISSING] * (length + 1) + items * times + [end]
        assert asked == answer + [MISSING] * (len(asked) - len(answer))
        kinds.add((length, times))
    assert kinds == {(n, k) for n in (1, 2, 3, 4) for k in (1, 2, 3)}


def test_selective_copy_asks_for_the_tokens_in_order(plugins: Plugins) -> None:
    task = make(plugins, "selective-copy", symbols=5, items=3, steps=10)
    _, inputs, answers = drawn(task)
    places = set()
    for seen, asked in zip(inputs[:, 0].tolist(), answers[:, 0].tolist(), strict=True):
        tokens = [token for token in seen[:10] if token < 5]
        assert len(tokens) == 3
        assert set(seen[:10]) - set(tokens) == {5}
        assert seen[10:] == [6] * 3
        assert asked == [MISSING] * 10 + tokens
        places |= {place for place, token in enumerate(seen[:10]) if token < 5}
    assert places == set(range(10))


def test_associative_recall_asks_for_one_of_the_values(plugins: Plugins) -> None:
    task = make(plugins, "associative-recall", symbols=6, values=4, pairs=3)
    _, inputs, answers = drawn(task)
    asked_for = set()
    for seen, asked in zip(inputs[:, 0].tolist(), answers[:, 0].tolist(), strict=True):
        keys, values, (first, second, key) = seen[:6:2], seen[1:6:2], seen[6:]
        assert len(set(keys)) == 3
        assert max(keys) < 6
        assert all(6 <= value < 10 for value in values)
        assert first == second == 10
        assert asked == [values[keys.index(key)]]
        asked_for.add(keys.index(key))
    assert asked_for == {0, 1, 2}
    assert task.spell(6) == 0


def test_every_task_draws_the_same_in_one_go_as_in_many(plugins: Plugins) -> None:
    for name in plugins.tasks:
        task = make(plugins, name, **({"path": str(CHAT)} if name == "pairs" else {}))
        one, many = stream(5, "train"), stream(5, "train")
        whole = task.sample(one, 7)
        parts = np.concatenate([task.sample(many, count) for count in (1, 4, 2)])
        np.testing.assert_array_equal(whole, parts, err_msg=name)


def test_every_task_says_what_it_is_and_draws_it(plugins: Plugins) -> None:
    for name, provided in plugins.tasks.items():
        kind = provided.value
        module = __import__(kind.__module__, fromlist=["_"])
        assert "::" in (module.__doc__ or ""), f"{name}: its docstring draws the sequence"
        assert {"closed", "open"} <= set(kind.recipes), name


def test_the_whole_and_the_partial_echo_have_recipes_of_their_own(plugins: Plugins) -> None:
    for name in ("masked", "regression", "stateless", "one-to-one", "many-to-one", "text"):
        whole = make(plugins, name).recipe("closed")
        partial = make(plugins, name, n_out=2).recipe("closed")
        assert whole is not None
        assert partial is not None
        assert (whole.units, whole.epochs) == (20, 500), name
        assert (partial.units, partial.epochs) == (150, 5000), name


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("whole[n_out=3]", "expected n_out=5, all of them"),
        ("lag[lag=25]", "expected lag < length=25; received lag=25"),
        ("reverse[shortest=11]", "expected shortest <= longest=10; received shortest=11"),
        ("repeat-copy[shortest=9]", "expected shortest <= longest=5; received shortest=9"),
        ("selective-copy[items=99]", "expected items <= steps=18; received items=99"),
        ("associative-recall[pairs=9]", "expected pairs <= symbols=8"),
        ("masked[how=maybe]", "expected how to be 'mask' or 'value'; received maybe"),
        ("copy[items=-1]", "expected items to be greater than or equal to 1; received -1"),
        ("copy[items=ten]", "valid integer"),
        ("copy[clip=nan]", "finite"),
        ("copy[items]", "expected key=value; received 'items'"),
        ("copy[items=3", "expected NAME or NAME[key=value,...]"),
        ("copy]items=3[", "expected NAME or NAME[key=value,...]"),
        ("copy[items=3,items=4]", "'items' is given twice"),
        ("copy[item=3]", "did you mean 'items'?"),
        ("[items=3]", "expected NAME or NAME[key=value,...]"),
        ("", "expected NAME or NAME[key=value,...]"),
    ],
)
def test_parameters_that_cannot_be(selector: str, message: str, plugins: Plugins) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(selector, "open", plugins)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class TestText:
    """The file's own words: vocabulary, windows, and files that are none."""

    def make(self, plugins: Plugins, folder: Path, content: str, **parameters: Any) -> Any:
        path = folder / "text.txt"
        path.write_text(content, encoding="utf-8")
        return make(plugins, "text", path=str(path), **parameters)

    def test_words_and_punctuation_are_tokens(self, plugins: Plugins, tmp_path: Path) -> None:
        task = self.make(plugins, tmp_path, "How are you?\nYou are späť, you said.")
        assert set(task.tokens) == {*["How", "are", "you", "?", "You", "späť", ",", "said", "."]}
        assert task.tokens[:2] == ["are", "you"]  # the most frequent first
        assert task.vocabulary == 9
        spelt = [task.spell(int(token)) for token in task.encode(["How", "are", "you", "?"])]
        assert spelt == ["How", "are", "you", "?"]

    def test_what_is_shown_is_the_text_from_its_start(
        self, plugins: Plugins, tmp_path: Path
    ) -> None:
        words = [f"w{k % 40}" for k in range(90)]
        task = self.make(plugins, tmp_path, " ".join(words))
        shown = task.sample_for_display(stream(0, "samples"), 50)
        spelt = [[task.spell(int(token)) for token in row] for row in shown]
        windows = [words[at : at + 25] for at in range(66)]
        assert spelt[0] == words[:25]
        assert all(row in windows for row in spelt)

    def test_characters_are_tokens_too(self, plugins: Plugins, tmp_path: Path) -> None:
        task = self.make(plugins, tmp_path, "ab\n ba ", level="character")
        assert task.words == ["a", "b", " ", "b", "a"]

    def test_rare_words_are_unknown(self, plugins: Plugins, tmp_path: Path) -> None:
        task = self.make(plugins, tmp_path, "a a a b b c d", symbols=3)
        assert task.tokens == ["a", "b", "<unknown>"]
        assert task.encode(["a", "d", "never"]).tolist() == [0, 2, 2]

    def test_a_word_that_has_no_place_is_an_error(self, plugins: Plugins, tmp_path: Path) -> None:
        task = self.make(plugins, tmp_path, "a b")
        with pytest.raises(ValueError, match="received 'c'"):
            task.encode(["c"])

    def test_one_short_line_is_enough(self, plugins: Plugins, tmp_path: Path) -> None:
        task = self.make(plugins, tmp_path, "How are you ?")
        assert task.sample_for_display(stream(0, "samples"), 2).shape == (2, 25)

    def test_another_text_is_another_version(self, plugins: Plugins, tmp_path: Path) -> None:
        one = self.make(plugins, tmp_path, "a b").parameters()
        assert one == self.make(plugins, tmp_path, "a b").parameters()
        assert one != self.make(plugins, tmp_path, "a c").parameters()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "No such file"),
            (b"", "expected a text of at least two different words"),
            (b" \n\t ", "expected a text of at least two different words"),
            (b"one one one", "expected a text of at least two different words"),
            (b"\x00\x01\x02", "is binary"),
            (b"\xff\xfe\xfa", r"text\.txt, line 1: expected text in UTF-8"),
        ],
    )
    def test_a_file_that_is_no_text(
        self, content: bytes | None, message: str, plugins: Plugins, tmp_path: Path
    ) -> None:
        path = tmp_path / "text.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValidationError, match=message):
            make(plugins, "text", path=str(path))
        with pytest.raises(UsageError, match=message):
            resolve(f"text[path={path}]", "closed", plugins)

    def test_a_folder_is_no_text(self, plugins: Plugins, tmp_path: Path) -> None:
        with pytest.raises(ValidationError, match="it is a folder"):
            make(plugins, "text", path=str(tmp_path))
