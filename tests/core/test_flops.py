"""The closed form against torch's own counter and against XLA's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.test_backends import answer

NARROW = [
    f"{task},symbols=10,units=6]"
    for task in (
        "whole[length=8",
        "partial[length=8",
        "attention[n_in=4,length=8",
        "regression[length=8",
        "one-to-one[length=8",
        "many-to-one[n_out=2,length=8",
        "copy[items=2,blanks=70",  # more steps than are unrolled
    )
]
WIDE = "regression[n_in=3,length=6,units=256]"

STEPS = {  # width of the kernels, features and units of each layer whose first step runs twice
    "recurrent": [(4, 4, 4), (12, 4, 4)],
    "beside": [],
    "masks": [(16, 6, 4), (16, 4, 4)],
    "masked[length=8,symbols=10,units=6]": [(24, 10, 6)],
    "masked[how=value,length=8,symbols=10,units=6]": [],
    "masked[n_out=2,length=8,symbols=10,units=6]": [(24, 10, 6)],
}


@pytest.fixture(scope="module")
def on_torch() -> list[dict[str, Any]]:
    return counted("torch", ("counted", NARROW), ("counted", [*STEPS]))


@pytest.fixture(scope="module")
def on_jax() -> list[dict[str, Any]]:
    chains = [s for s in NARROW if not s.startswith("attention")]
    asked = ("multiplied", ["small-transformer"]), ("outlines", chains), ("counted", [WIDE])
    return counted("jax", *asked, ("unknown", []))


def counted(backend: str, *asked: tuple[str, list[str]]) -> list[dict[str, Any]]:
    """Return what one process found for each way of counting and its selectors."""
    arguments = [f"{way}:{';'.join(selectors)}" for way, selectors in asked]
    return list(answer(backend, "tests.probes.flops", *arguments))


def test_the_closed_form_is_what_torch_counts(on_torch: list[dict[str, Any]]) -> None:
    found = on_torch[0]
    assert len(found) == len(NARROW)
    for selector, (plain, fused, by_torch) in found.items():
        assert plain == fused == by_torch, selector


def test_torch_counts_more_only_where_keras_runs_the_first_step_twice(
    on_torch: list[dict[str, Any]],
) -> None:
    """Keras does so in its own loop: for a mask, SimpleRNN, and GRU with reset_after=False."""
    found = on_torch[1]
    assert found.keys() == STEPS.keys()
    for selector, (plain, fused, by_torch) in found.items():
        again = sum(2 * width * (features + units) for width, features, units in STEPS[selector])
        assert plain == fused, selector
        assert by_torch == plain + 64 * again, selector


def test_a_transformer_counts_what_jax_multiplies(on_jax: list[dict[str, Any]]) -> None:
    ((plain, fused, by_jax),) = on_jax[0].values()
    assert plain == fused == by_jax


def test_an_outline_draws_and_counts_what_keras_form_does(on_jax: list[dict[str, Any]]) -> None:
    found = on_jax[1]
    assert len(found) == len(NARROW) - 1
    for selector, (same, by_keras, by_outline) in found.items():
        assert same, selector
        assert by_keras == by_outline, selector


def test_xla_counts_nearly_the_same_in_an_unrolled_program(on_jax: list[dict[str, Any]]) -> None:
    ((plain, fused, by_xla),) = on_jax[2].values()
    assert plain == fused
    # XLA leaves out the product with the zero state and its gradient, and counts
    # elementwise operations, which are few in a wide network.
    skipped = 2 * 2 * 64 * 256 * 4 * 256
    assert by_xla == pytest.approx(fused - skipped, rel=0.05)


def test_what_runs_inside_an_unknown_layer_is_not_counted_as_nothing(
    on_jax: list[dict[str, Any]],
) -> None:
    found = {**on_jax[3]}
    products = 2 * 6 * (4 * 4 * 2 + 4 * 3 * 3)  # the first layer's input needs no gradient
    assert found.pop("counted") == str(products)
    assert len(found) == 6
    for name, why in found.items():
        assert why.startswith("uncounted: "), name
        assert name in why or name == "TimeDistributed"
