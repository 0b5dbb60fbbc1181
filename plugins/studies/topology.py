"""One-to-one and many-to-one instead of sequence to sequence.

The tutorial's recipe for each, then larger networks, then recipes that suit each.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

STUDY = Study(
    name="topology",
    question="What do the alternate topologies need to echo as well as the reference?",
    backend="jax",
    timeout="2m",
    variants=[
        Variant(label="whole, sequence to sequence, 20 units", task="whole", division="closed"),
        Variant(label="whole, many-to-one, 20 units", task="many-to-one", division="closed"),
        Variant(
            label="whole, many-to-one, 150 units", task="many-to-one[units=150]", division="closed"
        ),
        Variant(label="whole, one-to-one, 20 units", task="one-to-one", division="closed"),
        Variant(
            label="whole, one-to-one, 150 units", task="one-to-one[units=150]", division="closed"
        ),
        Variant(label="whole, sequence to sequence, tuned", task="whole"),
        Variant(label="whole, many-to-one, tuned", task="many-to-one"),
        Variant(label="whole, one-to-one, tuned", task="one-to-one"),
        Variant(label="partial, encoder-decoder, tuned", task="partial"),
        Variant(label="partial, many-to-one, tuned", task="many-to-one[n_out=2]"),
        Variant(label="partial, one-to-one, tuned", task="one-to-one[n_out=2]"),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
