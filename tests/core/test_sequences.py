"""Sequences: drawn, framed, encoded, decoded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.core import sequences
from echobench.core.sequences import STREAMS, Framing, stream


@st.composite
def framings(draw: st.DrawFn) -> tuple[int, int, int]:
    n_in = draw(st.integers(1, 12))
    return draw(st.integers(n_in, 40)), n_in, draw(st.integers(1, n_in))


def test_the_tutorials_example() -> None:
    x, y = sequences.to_supervised(np.array([1, 2, 3, 4, 5]), 5, 1)
    assert x.tolist() == [[1, 2, 3, 4, 5]]
    assert y.tolist() == [[1]]


def test_25_integers_framed_by_5_give_21_samples() -> None:
    framing = Framing.shifted(25, 5, 3)
    assert (framing.inputs.shape, framing.targets.shape) == ((21, 5), (21, 3))


@given(framings(), st.integers(0, 2**32))
def test_framing_is_pandas_shift_and_dropna(sizes: tuple[int, int, int], seed: int) -> None:
    length, n_in, n_out = sizes
    sequence = np.random.default_rng(seed).integers(0, 100, length)
    # Written out anew from the tutorial: a frame of shifted columns, oldest first.
    frame = pd.DataFrame({k: pd.Series(sequence).shift(k) for k in range(n_in - 1, -1, -1)})
    expected = frame.dropna().to_numpy().astype(int)
    framing = Framing.shifted(length, n_in, n_out)
    np.testing.assert_array_equal(sequence[framing.inputs], expected)
    np.testing.assert_array_equal(sequence[framing.targets], expected[:, :n_out])
    x, y = sequences.to_supervised(sequence, n_in, n_out)
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, expected[:, :n_out])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 2**31))
def test_chunking_does_not_change_the_data(chunks: list[int], seed: int) -> None:
    one, many = stream(seed, "train"), stream(seed, "train")
    whole = sequences.uniform_sequences(one, sum(chunks), 7, 100)
    parts = [sequences.uniform_sequences(many, count, 7, 100) for count in chunks]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_streams_of_a_seed_are_apart_and_repeatable() -> None:
    drawn = {name: stream(3, name).integers(0, 2**62) for name in STREAMS}
    assert len(set(drawn.values())) == len(STREAMS)
    assert stream(3, "train").integers(0, 2**62) == drawn["train"]
    assert stream(4, "train").integers(0, 2**62) != drawn["train"]


def test_integers_are_uniform_over_the_whole_range() -> None:
    counts = np.bincount(sequences.uniform_sequences(stream(0, "train"), 4000, 25, 100).ravel())
    assert len(counts) == 100
    # Chi squared with 99 degrees of freedom: below 160 but once in ten thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 160


def test_a_stream_says_what_it_draws_for_and_gives_numpys_bytes() -> None:
    plain = np.random.Generator(np.random.Philox(np.random.SeedSequence(3, spawn_key=(2,))))
    screen = stream(3, "screen")
    assert screen.integers(0, 2**62) == plain.integers(0, 2**62)
    assert [name for name in STREAMS if stream(0, name).for_training] == ["train", "parity"]
    assert [child.name for child in screen.spawn(2)] == ["screen", "screen"]


def test_an_unknown_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        stream(0, "test")
