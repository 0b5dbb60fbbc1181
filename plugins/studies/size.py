"""What an update costs by size: of the layers, of the batch, of the window.

One size at a time goes from the base point through its range, the others stay. A sequence
is one window long, so that an update holds as many samples as sequences, and looking at
the network costs little. Nothing is learnt: a trial ends after some updates in steady
state, more of them where they are short. The echo is the whole one, of one LSTM: most of
what the partial one adds is the time to compile and to draw a second one's weights.
"""

from __future__ import annotations

from echobench import Study, Variant, hookimpl

RANGES = {
    "units": (20, 64, 128, 256, 512, 1024, 2048),
    "samples an update": (1, 16, 256, 4096),
    "integers a window": (5, 16, 128, 512),
}
BASE = {"units": 64, "samples an update": 16, "integers a window": 5}

# So small a rate that float32 rounding does not grow into another course of learning,
# in networks of any size; what an update costs does not depend on it.
RATE = 0.0001


def _variant(axis: str | None, size: int) -> Variant:
    """Return the variant of this size on an axis, elsewhere that of the base; the base for None."""
    sizes = BASE if axis is None else {**BASE, axis: size}
    units, samples, window = sizes.values()
    # A trial makes ten times as many updates as `epochs` says, and measures nine dispatches.
    products = samples * window * units**2
    dispatch = 20 if products < 10**7 else 5 if products < 10**8 else 1
    chosen = (
        f"n_in={window},length={window},units={units},sequences={samples},"
        f"learning_rate={RATE},epochs={dispatch},evaluate_every={dispatch}"
    )
    return Variant(
        label="base" if axis is None else f"{size:,} {axis}",
        task=f"whole[{chosen}]",
        sizes=sizes if axis is None else {axis: size},
    )


STUDY = Study(
    name="size",
    question="How does the time of an update grow with units, samples and the window's length?",
    backend="jax",
    seeds=1,
    timeout="60s",
    variants=[
        _variant(None, 0),
        *(
            _variant(axis, size)
            for axis, sizes in RANGES.items()
            for size in sizes
            if size != BASE[axis]
        ),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    """Register the study."""
    return [STUDY]
