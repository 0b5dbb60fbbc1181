"""Echo text: any sequence of a file's own tokens.

::

    input       How   are   you   ?
    target      How   are   you   ?
    network     the whole echo's; the partial echo's if n_out < n_in

`--task 'text[path=poem.txt]'` builds the vocabulary from a file: its words and
punctuation (`level=word`) or its characters (`level=character`), at most
`symbols` of them; rarer ones become `<unknown>`. Training and certification
draw random tokens of that vocabulary, so that the network learns the echo and
not the text, and no evaluation sequence was trained on. The echoes displayed at
the end of a trial are the file's own text. Without a path, the text is a
sentence with every letter. The closed recipes are the tutorial's.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from echobench import MISSING, DataFile, EchoTask, Integers, hookimpl, uniform_sequences

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions

SENTENCE = """How are you? The quick brown fox jumps over the lazy dog, and the dog asks:
who was that? Pack my box with five dozen liquor jugs, said the fox, and off it went."""
UNKNOWN = "<unknown>"


class Text(EchoTask):
    """Echo sequences of a text's own tokens."""

    name = "text"
    recipes = divisions("text", TUTORIAL_WHOLE)
    partial_recipes = divisions("text[n_out=2]", TUTORIAL_PARTIAL)
    symbols: int = Field(default=1000, ge=2, le=1_000_000, description="largest vocabulary")
    path: DataFile | None = None
    level: Literal["word", "character"] = "word"

    @model_validator(mode="after")
    def _check_text(self) -> Text:
        if len(self.tokens) < 2:
            raise ValueError(
                f"expected a text of at least two different {self.level}s; "
                f"{self.path or 'the sentence'} has {len(self.tokens)}"
            )
        return self

    @cached_property
    def text(self) -> str:
        """The file's text."""
        return SENTENCE if self.path is None else self.path.text

    @cached_property
    def words(self) -> list[str]:
        """The text as tokens, in order."""
        if self.level == "character":
            return list(" ".join(self.text.split()))
        return re.findall(r"\w+|[^\w\s]", self.text)

    @cached_property
    def tokens(self) -> list[str]:
        """The vocabulary: the most frequent tokens, and `<unknown>` if there are others."""
        ranked = [word for word, _ in Counter(self.words).most_common()]
        return ranked if len(ranked) <= self.symbols else [*ranked[: self.symbols - 1], UNKNOWN]

    @property
    def vocabulary(self) -> int:
        """The number of different tokens."""
        return len(self.tokens)

    def encode(self, words: list[str]) -> Integers:
        """Return words as tokens; one that is not in the vocabulary becomes `<unknown>`.

        Raises:
            ValueError: a word is unknown, and the vocabulary has no token `<unknown>`.
        """
        numbers = {word: number for number, word in enumerate(self.tokens)}
        unknown = numbers.get(UNKNOWN)
        others = [word for word in words if word not in numbers]
        if others and unknown is None:
            raise ValueError(f"expected tokens of the text; received {others[0]!r}")
        return np.array([numbers.get(word, unknown) for word in words], np.int64)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform tokens of the vocabulary, [count, length]."""
        return uniform_sequences(rng, count, self.length, self.vocabulary)

    def sample_for_display(self, rng: np.random.Generator, count: int) -> Integers:
        """Return passages of the text itself, [count, length], the first from its start."""
        text = np.resize(self.encode(self.words), max(len(self.words), 2 * self.length))
        starts = rng.integers(0, len(text) - self.length + 1, size=count)
        starts[0] = 0
        rows: Integers = text[starts[:, np.newaxis] + np.arange(self.length)]
        return rows

    def spell(self, token: int) -> int | str | None:
        """Return the word of a token."""
        return None if token == MISSING else self.tokens[token]


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Text]
