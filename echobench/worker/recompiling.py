"""Notice that a backend compiles again while it trains, whatever it says of itself.

What compiles for each length of a dispatch takes long the first time, and not later. Processor time
is compared: a process that is stopped, or waits for a core, has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from echobench.core.training import Dispatch

LEAST_S = 0.25
"""Processor seconds that a compilation takes at least."""
TIMES = 2.0
"""How often the excess of a compilation holds the work of its dispatch, and the largest excess of
a dispatch that compiles nothing. Threads that wait for each other take several times as much."""


def recompilations(dispatches: Sequence[Dispatch]) -> dict[str, Any]:
    """Return how many dispatches compiled, each the first of its length, and how long that took.

    Returns:
        `times`; and `seconds` of the training's wall time, about.
    """
    seen: set[int] = set()
    firsts: list[Dispatch] = []
    others: list[Dispatch] = []
    for dispatch in dispatches:
        (others if dispatch.epochs in seen else firsts).append(dispatch)
        seen.add(dispatch.epochs)
    least = min((d.processor_s / d.epochs for d in dispatches), default=0.0)

    def excess(dispatch: Dispatch) -> float:
        return dispatch.processor_s - least * dispatch.epochs

    noise = max(map(excess, others), default=0.0)
    found = [
        dispatch
        for dispatch in firsts
        if excess(dispatch) > max(LEAST_S, TIMES * least * dispatch.epochs, TIMES * noise)
    ]
    # Compiling may take several cores, or wait for one.
    seconds = (one.seconds * excess(one) / one.processor_s for one in found)
    return {"times": len(found), "seconds": sum(seconds)}


def first_and_second(train: Callable[[int], Any], lengths: Sequence[int]) -> list[list[float]]:
    """Return the processor seconds of two dispatches of each length, by length.

    Args:
        train: dispatches that many epochs.
        lengths: none of which was dispatched before.
    """
    return [[_processor_s(train, length) for _ in range(2)] for length in lengths]


def compiles_again(first_s: float, second_s: float) -> bool:
    """Return whether the first of two equal dispatches compiled, by their processor seconds."""
    return first_s - second_s > max(LEAST_S, TIMES * second_s)


def fixed_s(long: Sequence[float], short: Sequence[float], times: int) -> float:
    """Return the processor seconds of a dispatch that its epochs do not take.

    Args:
        long: those of several dispatches of one length, of which the least counts.
        short: the same of fewer epochs.
        times: how many times as many epochs the long ones have.
    """
    epochs_of_short = max(0.0, (min(long) - min(short)) / (times - 1))
    return min(short) - epochs_of_short


def compiles_always(fixed: float, short: Sequence[float]) -> bool:
    """Return whether each dispatch compiles, by what its epochs do not take (`fixed_s`)."""
    return fixed > max(LEAST_S, TIMES * (min(short) - fixed))


def _processor_s(train: Callable[[int], Any], length: int) -> float:
    start = time.process_time()
    train(length)
    return time.process_time() - start
