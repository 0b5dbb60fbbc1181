"""Answer each sequence of a file with the one beside it.

::

    file        ["How", "are", "you", "?"], ["I'm", "fine"]

    input       How   are   you   ?
    target      I'm   fine  <end>
    network     encoder and decoder, for inputs and answers of any length

`--task 'pairs[path=chat.jsonl]'` takes two arrays of tokens in each line of a `.jsonl` file, or
two cells, words separated by spaces, in each of a `.csv` or `.tsv`. An answer ends with the token
`<end>`; what comes after it does not count.

As it is, the network learns the file by heart, and the certificate says that it answers each of
its inputs right. With `test_share=0.2` a fifth of the inputs is held out, and the certificate is
of these: which needs a rule that the others show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from echobench import FileTask, Form, Network, Recipe, Task, encoder_decoder, hookimpl

from ._recipes import divisions

END = "<end>"


class Pairs(FileTask):
    """Answer sequences of a file by those beside them."""

    name = "pairs"
    recipes = divisions(
        "pairs", Recipe(units=150, batch=1, sequences=16, epochs=5000, evaluate_every=100)
    )
    test_share: float = Field(default=0.0, ge=0, lt=1)

    def example(self, cells: list[Any]) -> tuple[Sequence[int | str], Sequence[int | str]]:
        """Return a line's input, and its answer with the mark of its end."""
        if len(cells) != 2:
            raise ValueError(
                "expected an input and an answer: two arrays in a line of a .jsonl file, or two "
                f"cells in one of a .csv or .tsv; received {len(cells)}"
            )
        inputs, answer = (
            cell if isinstance(cell, list) else [*str(cell).split()] for cell in cells
        )
        if not answer:
            raise ValueError("expected at least one token in its answer")
        if END in {*inputs, *answer}:
            raise ValueError(f"expected no token {END}, which is the mark of an answer's end")
        return inputs, [*answer, END]

    def network(self, form: Form, units: int) -> Network:
        """Build the partial echo's network; shorter inputs are masked."""
        return encoder_decoder(form, self.n_in, self.n_out, units, masked=True)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [Pairs]
