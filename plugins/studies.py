"""Studies of the questions that the tutorial leaves open."""

from __future__ import annotations

from echobench import Study, Variant, hookimpl


def study(name: str, question: str, closed: dict[str, str], tuned: dict[str, str]) -> Study:
    """Return a study of closed and open recipes, each a task by the label of its row."""
    rows = [("closed", closed), ("open", tuned)]
    return Study(
        name=name,
        question=question,
        backend="jax",
        timeout="2m",
        variants=[
            Variant(label=label, task=task, division=division)
            for division, tasks in rows
            for label, task in tasks.items()
        ],
    )


# The tutorial's recipes first, then recipes tuned for each representation.
REPRESENTATION = study(
    "representation",
    "How do skill, units and epochs change with a linear representation?",
    closed={
        "whole, one-hot": "whole",
        "whole, linear": "regression",
        "whole, linear, 150 units": "regression[units=150]",
        "partial, one-hot": "partial",
        "partial, linear": "regression[n_out=2]",
    },
    tuned={
        "whole, one-hot, tuned": "whole",
        "whole, linear, tuned": "regression",
        "partial, one-hot, tuned": "partial",
        "partial, linear, tuned": "regression[n_out=2]",
    },
)

# Dropping the rows with missing values leaves 21 samples of a sequence, keeping them 25.
MASKING = study(
    "masking",
    "What if rows with missing values are masked or given a value, not dropped?",
    closed={
        "whole, dropped": "whole",
        "whole, masked": "masked",
        "whole, a value": "masked[how=value]",
    },
    tuned={
        "whole, dropped, tuned": "whole",
        "whole, masked, tuned": "masked",
        "whole, a value, tuned": "masked[how=value]",
        "partial, dropped, tuned": "partial",
        "partial, masked, tuned": "masked[n_out=2]",
        "partial, a value, tuned": "masked[n_out=2,how=value]",
    },
)

# One recipe for each architecture, so that only length and units differ: 10,000 updates for
# encoder and decoder, the open recipe's 2,000 with attention.
LONG_RECIPE = "decay=9900,epochs=1000,evaluate_every=250"
LENGTH = study(
    "length",
    "How many units and updates does a longer echo take?",
    closed={},
    tuned={
        "2 of 2, one vector, 64 units": f"long-echo[n_in=2,units=64,{LONG_RECIPE}]",
        "4 of 4, one vector, 64 units": f"long-echo[n_in=4,units=64,{LONG_RECIPE}]",
        "4 of 4, one vector, 128 units": f"long-echo[n_in=4,units=128,{LONG_RECIPE}]",
        "6 of 6, one vector, 128 units": f"long-echo[n_in=6,units=128,{LONG_RECIPE}]",
        "8 of 8, one vector, 128 units": f"long-echo[n_in=8,units=128,{LONG_RECIPE}]",
        "8 of 8, attention, 64 units": "attention[n_in=8,sequences=4]",
        "12 of 12, attention, 64 units": "attention[n_in=12]",
        "16 of 16, attention, 64 units": "attention[n_in=16,sequences=6]",
        "25 of 25, attention, 64 units": "attention[n_in=25,sequences=56]",
    },
)

# The tutorial's units, optimizer and learning rate throughout.
STATE = study(
    "state",
    "Does it matter whether the state is carried from sample to sample?",
    closed={
        "whole, batch 7, state carried": "whole",
        "whole, batch 7, state reset": "whole[stateful=false]",
        "whole, batch 1, state carried": "stateless[stateful=true]",
        "whole, batch 1, state reset": "stateless",
        "partial, batch 21, state reset": "partial",
        "partial, batch 1, state carried": "stateless[n_out=2,stateful=true]",
        "partial, batch 1, state reset": "stateless[n_out=2]",
    },
    tuned={},
)

# The tutorial's recipe for each, then larger networks, then recipes tuned for each.
TOPOLOGY = study(
    "topology",
    "What do the alternate topologies need to echo as well as the reference?",
    closed={
        "whole, sequence to sequence, 20 units": "whole",
        "whole, many-to-one, 20 units": "many-to-one",
        "whole, many-to-one, 150 units": "many-to-one[units=150]",
        "whole, one-to-one, 20 units": "one-to-one",
        "whole, one-to-one, 150 units": "one-to-one[units=150]",
    },
    tuned={
        "whole, sequence to sequence, tuned": "whole",
        "whole, many-to-one, tuned": "many-to-one",
        "whole, one-to-one, tuned": "one-to-one",
        "partial, encoder-decoder, tuned": "partial",
        "partial, many-to-one, tuned": "many-to-one[n_out=2]",
        "partial, one-to-one, tuned": "one-to-one[n_out=2]",
    },
)

# What an update costs, by size: one size at a time goes through its range from the base row,
# the others stay. A sequence is one window long, so that an update holds as many samples as
# sequences, and an evaluation costs little. Nothing is learnt: a trial ends after some updates
# in steady state, more of them where they are short. The task is the whole echo, one LSTM: the
# partial echo would mostly add the time to compile and to draw a second LSTM's weights.
RANGES = {
    "units": (20, 64, 128, 256, 512, 1024, 2048),
    "samples an update": (1, 16, 256, 4096),
    "integers a window": (5, 16, 128, 512),
}
BASE = {"units": 64, "samples an update": 16, "integers a window": 5}
# So small that float32 rounding does not change what is learnt, in networks of any size; the
# cost of an update does not depend on it.
RATE = 0.0001


def sized(label: str, sizes: dict[str, int]) -> Variant:
    """Return a row of these sizes, with those of the base row where none is given."""
    units, samples, window = {**BASE, **sizes}.values()
    # A trial makes ten times as many updates as `epochs` says, and measures nine dispatches.
    products = samples * window * units**2
    dispatch = 20 if products < 10**7 else 5 if products < 10**8 else 1
    parameters = (
        f"n_in={window},length={window},units={units},sequences={samples},"
        f"learning_rate={RATE},epochs={dispatch},evaluate_every={dispatch}"
    )
    return Variant(label=label, task=f"whole[{parameters}]", sizes=sizes)


SIZE = Study(
    name="size",
    question="How does the time of an update grow with units, samples and the window's length?",
    backend="jax",
    seeds=1,
    timeout="60s",
    variants=[
        sized("base", BASE),
        *(
            sized(f"{size:,} {axis}", {axis: size})
            for axis, sizes in RANGES.items()
            for size in sizes
            if size != BASE[axis]
        ),
    ],
)


@hookimpl
def echobench_studies() -> list[Study]:
    return [REPRESENTATION, MASKING, LENGTH, STATE, TOPOLOGY, SIZE]
