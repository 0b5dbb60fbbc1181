"""The state carried between samples, or reset after each.

The tutorial's units, optimizer and learning rate throughout.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

STUDY = Study(
    name="state",
    question="Does it matter whether the state is carried from sample to sample?",
    backend="jax",
    timeout="2m",
    variants=[
        Variant(label="whole, batch 7, state carried", task="whole", division="closed"),
        Variant(
            label="whole, batch 7, state reset", task="whole[stateful=false]", division="closed"
        ),
        Variant(
            label="whole, batch 1, state carried",
            task="stateless[stateful=true]",
            division="closed",
        ),
        Variant(label="whole, batch 1, state reset", task="stateless", division="closed"),
        Variant(label="partial, batch 21, state reset", task="partial", division="closed"),
        Variant(
            label="partial, batch 1, state carried",
            task="stateless[n_out=2,stateful=true]",
            division="closed",
        ),
        Variant(
            label="partial, batch 1, state reset", task="stateless[n_out=2]", division="closed"
        ),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
