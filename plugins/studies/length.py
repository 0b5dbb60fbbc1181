"""Longer echoes through one vector, and with attention.

One recipe for each architecture, so that length and units are all that differs:
10,000 updates for encoder and decoder, the open recipe's 2,000 with attention.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

RECIPE = "decay=9900,epochs=1000,evaluate_every=250"

STUDY = Study(
    name="length",
    question="How many units and updates does a longer echo take?",
    backend="jax",
    timeout="2m",
    variants=[
        Variant(label="2 of 2, one vector, 64 units", task=f"long-echo[n_in=2,units=64,{RECIPE}]"),
        Variant(label="4 of 4, one vector, 64 units", task=f"long-echo[n_in=4,units=64,{RECIPE}]"),
        Variant(
            label="4 of 4, one vector, 128 units", task=f"long-echo[n_in=4,units=128,{RECIPE}]"
        ),
        Variant(
            label="6 of 6, one vector, 128 units", task=f"long-echo[n_in=6,units=128,{RECIPE}]"
        ),
        Variant(
            label="8 of 8, one vector, 128 units", task=f"long-echo[n_in=8,units=128,{RECIPE}]"
        ),
        Variant(label="8 of 8, attention, 64 units", task="attention[n_in=8,sequences=4]"),
        Variant(label="12 of 12, attention, 64 units", task="attention[n_in=12]"),
        Variant(label="16 of 16, attention, 64 units", task="attention[n_in=16,sequences=6]"),
        Variant(label="25 of 25, attention, 64 units", task="attention[n_in=25,sequences=56]"),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
