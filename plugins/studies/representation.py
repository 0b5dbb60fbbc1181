"""Integers as one-hot vectors or as numbers in 0..1.

The tutorial's recipes first, then recipes that suit each representation.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

STUDY = Study(
    name="representation",
    question="How do skill, units and epochs change with a linear representation?",
    backend="jax",
    timeout="2m",
    variants=[
        Variant(label="whole, one-hot", task="whole", division="closed"),
        Variant(label="whole, linear", task="regression", division="closed"),
        Variant(label="whole, linear, 150 units", task="regression[units=150]", division="closed"),
        Variant(label="partial, one-hot", task="partial", division="closed"),
        Variant(label="partial, linear", task="regression[n_out=2]", division="closed"),
        Variant(label="whole, one-hot, tuned", task="whole"),
        Variant(label="whole, linear, tuned", task="regression"),
        Variant(label="partial, one-hot, tuned", task="partial"),
        Variant(label="partial, linear, tuned", task="regression[n_out=2]"),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
