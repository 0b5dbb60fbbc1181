"""Rows with missing values: dropped, masked, or given a value.

Dropping leaves 21 samples of a sequence, keeping makes 25.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

STUDY = Study(
    name="masking",
    question="What if rows with missing values are masked or given a value, not dropped?",
    backend="jax",
    timeout="2m",
    variants=[
        Variant(label="whole, dropped", task="whole", division="closed"),
        Variant(label="whole, masked", task="masked", division="closed"),
        Variant(label="whole, a value", task="masked[how=value]", division="closed"),
        Variant(label="whole, dropped, tuned", task="whole"),
        Variant(label="whole, masked, tuned", task="masked"),
        Variant(label="whole, a value, tuned", task="masked[how=value]"),
        Variant(label="partial, dropped, tuned", task="partial"),
        Variant(label="partial, masked, tuned", task="masked[n_out=2]"),
        Variant(label="partial, a value, tuned", task="masked[n_out=2,how=value]"),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
