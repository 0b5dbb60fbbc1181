"""How fast this machine is while a trial runs, and what disturbed the trial."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
import timeit
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from echobench.machine import facts
from echobench.text import shortened
from echobench.trial.cell import LARGEST_FLOAT
from echobench.trial.record import Machine, Record

SIZE = 512
"""Rows and columns of the matrices: large enough for the processor's full rate."""
WINDOW_S = 0.02
"""Processor time of each thread in a window: several products, far more than a clock's tick."""
WINDOWS = 3
"""Windows with one thread, and with all: the best of them counts."""
PATIENCE = 10
"""A window ends after this many times its length, however little of a core its threads got."""
COPIED_BYTES = 32 * 2**20
"""Larger than the caches of most processors."""
COPIES = 7
FEWEST = 4
LEAST_S = 0.1
"""Stretches of training, and seconds of all together, from which on they show whether it was
steady: a stretch of a millisecond is unsteady on any machine."""
MAX_LOST = 1.2
"""Mean time of an epoch over that of the fastest tenth of the stretches."""
MAX_DRIFT = 1.4
"""Time of an epoch in the last third of the stretches over that in the first, or the inverse."""
MAX_WAITED = 0.1
"""Share of training in which its threads waited for a core. They wait for each other, too."""
MAX_THROTTLED = 0.01
"""Share of training for which a quota kept it from running."""
MAX_STOPPED = 0.01
"""Share of its training, or of the rest of its time, for which a trial was stopped."""
MAX_STEAL = 0.02
"""Share of the processor time taken by other virtual machines."""
MAX_WAITING = 0.5
"""Processes waiting for a core."""


class Window(NamedTuple):
    """A stretch of matrix products.

    Attributes:
        flops_per_s: of all threads together, by the processor time that each of them took.
        core_share: of a core for each thread, that they got.
    """

    flops_per_s: float
    core_share: float


def calibrate(threads: int) -> dict[str, Any]:
    """Measure the machine's rates in this process, on its cores.

    Args:
        threads: of the trial. Each multiplies matrices of its own: if they shared one product,
            one that waits for its core would hold up the others, and the rate would collapse.

    Returns:
        `matmul_flops_per_s` of float32 matrix products by `threads` threads together and
        `thread_flops_per_s` by one alone, each the best of several windows and by processor time,
        since the machine is no slower for being shared; `matmul_spread`, the best window's rate
        over the median one's; `core_share`, the share of their cores that the threads got;
        `copy_bytes_per_s` of a copy, the best of several; `frequency_mhz` of the processor, None
        if unknown.
    """
    alone, together = matmul_windows(1), matmul_windows(threads)
    best = max(window.flops_per_s for window in together)
    source = np.ones(COPIED_BYTES // 4, np.float32)
    target = np.empty_like(source)
    copies = timeit.repeat(lambda: np.copyto(target, source), number=1, repeat=COPIES)
    return {
        "matmul_flops_per_s": best,
        "copy_bytes_per_s": COPIED_BYTES / min(copies),
        "matmul_spread": best / statistics.median(window.flops_per_s for window in together),
        "frequency_mhz": facts.frequency_mhz(),
        "threads": threads,
        "thread_flops_per_s": max(window.flops_per_s for window in alone),
        "core_share": statistics.mean(window.core_share for window in together),
    }


def matmul_windows(threads: int, windows: int = WINDOWS) -> list[Window]:
    """Multiply matrices in so many threads at once, for `WINDOW_S` a window."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    with threadpool_limits(1, user_api="blas"):
        return [_window(a, b, threads) for _ in range(windows)]


def _window(a: Any, b: Any, threads: int) -> Window:
    found: list[Window] = []
    gate = threading.Barrier(threads)

    def multiply() -> None:
        product = np.matmul(a, b)  # warm up
        gate.wait()
        start, used_before, count = time.perf_counter(), time.thread_time(), 0
        used = elapsed = 0.0
        while used < WINDOW_S and elapsed < PATIENCE * WINDOW_S:
            np.matmul(a, b, out=product)
            count += 1
            used = time.thread_time() - used_before
            elapsed = time.perf_counter() - start
        found.append(Window(count * 2 * SIZE**3 / used, used / elapsed))

    workers = [threading.Thread(target=multiply) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rates, shares = zip(*found, strict=True)
    return Window(sum(rates), statistics.mean(shares))


def limit_fraction(
    fields: dict[str, Any], device: str, calibration: dict[str, dict[str, Any] | None]
) -> float | None:
    """Return the rate of training over that of the machine's float32 matrix products.

    The machine's rate is the better of the two measured before and after, with the same
    threads. None on a GPU, where networks this small wait for kernel launches instead. `assessed`
    leaves a share above 1 empty.
    """
    flops, seconds = fields["flops_per_update"], fields.get("seconds_per_update")
    rates = [measured["matmul_flops_per_s"] for measured in calibration.values() if measured]
    if flops is None or not seconds or not rates or device != "cpu":
        return None
    return float(flops / seconds / max(rates))


class WaitMeter:
    """Measures how long this process's threads wait for a core from now on.

    A thread that ends takes its times with it; those of training last as long as training does.
    """

    def __init__(self) -> None:
        self._before = _scheduled()

    def share(self) -> float | None:
        """Return the time that they were ready and waited, over that and the time they ran.

        None if the system does not count it.
        """
        before, now = self._before, _scheduled()
        pairs = [(now[t], before.get(t, (0, 0))) for t in now]
        ran, waited = (sum(after[i] - then[i] for after, then in pairs) for i in (0, 1))
        return waited / (ran + waited) if ran + waited > 0 else None


def _scheduled() -> dict[str, tuple[int, int]]:
    """Return the nanoseconds that each thread ran, and waited to run (Linux: `schedstat`)."""
    found = {}
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            ran, waited, _ = map(int, path.read_text().split())
        except (OSError, ValueError):
            continue  # the thread has ended, or the system writes something else
        found[path.parent.name] = (ran, waited)
    return found


class StealMeter:
    """Measures the share of processor time that other virtual machines take from now on."""

    def __init__(self) -> None:
        self._before = facts.known(psutil.cpu_times)

    def fraction(self) -> float | None:
        """Return the share so far; None if the system does not count it."""
        now = facts.known(psutil.cpu_times)
        if now is None or self._before is None or not hasattr(now, "steal"):
            return None
        total = sum(now) - sum(self._before)
        # Both are rounded, so that the part may exceed the whole.
        return min(1.0, (now.steal - self._before.steal) / total) if total else 0.0


def assessed(record: Record) -> Record:
    """Return a record with `limit_fraction` and `disturbances` as this version decides them.

    Versions up to 4 recorded shares of the limit above 1, which are none, and took noise around
    a trial for noise in it.
    """
    share, why = record.limit_fraction, record.limit_reason
    if share is not None and share > 1:
        share, why = None, f"{share:.2f}x the measured matrix rate"
    return msgspec.structs.replace(
        record, limit_fraction=share, limit_reason=why, disturbances=disturbances(record)
    )


def disturbances(record: Record) -> list[str]:
    """Describe what disturbed a trial, in a few words each.

    What stopped it, or slowed all of it alike, is named by itself. Else its own training decides:
    how steady it was from one evaluation to the next. Only where it was not, waiting for a core,
    stolen time and load are named as causes.
    """
    shown = _unsteady(record)
    return [*_stopped(record), *_limited(record), *shown, *(_causes(record) if shown else [])]


def _limited(record: Record) -> list[str]:
    """Describe what slows all of a training alike, so that steadiness does not show it."""
    messages, provenance, threads = [], record.provenance, record.trial.threads
    quota = (provenance.machine or Machine()).quota
    if quota and quota < threads:
        counted = "1 thread" if threads == 1 else f"{threads} threads"
        messages.append(f"{counted} on a quota of {quota:.3g} cores")
    throttled = record.execution.get("throttled_share")  # a worker's own word
    if isinstance(throttled, float) and MAX_THROTTLED < throttled <= 1:
        messages.append(f"throttled by quota for {throttled:.0%} of training")
    if provenance.unlocked:
        messages.append(shortened(provenance.unlocked))
    return messages


def _stopped(record: Record) -> list[str]:
    """Describe when a worker was stopped, by what its guard noticed.

    A few evaluations, or one long dispatch, would not show it.
    """
    messages = []
    intervals = record.execution.get("stopped_s")  # a worker's own word: it may be anything
    phases = intervals if isinstance(intervals, dict) else {}
    trained = [record.first_update_s, record.train_s]
    trained_s = sum(seconds or 0.0 for seconds in trained)
    training_s = sum(_seconds(phases.get(name)) for name in ("first_update", "train"))
    rest_s = sum(map(_seconds, phases.values())) - training_s
    if training_s > MAX_STOPPED * trained_s:
        whole = f" of its {trained_s:.3g} s" if trained_s else ""
        messages.append(f"stopped for {training_s:.3g} s{whole} of training")
    if rest_s > MAX_STOPPED * max(0.0, (record.wall_s or 0.0) - trained_s):
        messages.append(f"stopped for {rest_s:.3g} s outside of training")
    suspended_s = _seconds(record.execution.get("suspended_s"))
    if suspended_s:
        messages.append(f"the machine was suspended for {suspended_s:,.0f} s")
    return messages


def _seconds(value: object) -> float:
    """Return a number of seconds; 0 for what is none."""
    if isinstance(value, int | float) and 0 < value <= LARGEST_FLOAT:
        return float(value)
    return 0.0


def _unsteady(record: Record) -> list[str]:
    points = [(point.epoch, point.train_s) for point in record.evaluations]
    stretches = [
        (end - start, end_s - start_s)
        for (start, start_s), (end, end_s) in itertools.pairwise(points)  # the first one warms up
        if start_s is not None and end_s is not None and start < end
    ]
    paces = [seconds / epochs for epochs, seconds in stretches]
    trained_s = sum(seconds for _, seconds in stretches)
    if len(paces) < FEWEST or trained_s < LEAST_S or min(paces) <= 0:
        return []
    messages = []
    calm = sorted(paces)[len(paces) // 10]
    lost = sum(paces) / len(paces) / calm
    if lost > MAX_LOST:
        messages.append(f"training took {lost:.2f}x the time of its fastest tenth")
    third = len(paces) // 3
    first, last = (statistics.median(part) for part in (paces[:third], paces[-third:]))
    if not 1 / MAX_DRIFT < last / first < MAX_DRIFT:
        messages.append(f"updates took {last / first:.2f}x the time at the end as at the start")
    return messages


def _causes(record: Record) -> list[str]:
    messages, provenance = [], record.provenance
    waited = record.execution.get("waited_share")  # a worker's own word: it may be anything
    if isinstance(waited, float) and MAX_WAITED < waited <= 1:
        messages.append(f"waited for a core in {waited:.0%} of its time")
    steal = provenance.steal_fraction
    if steal and steal > MAX_STEAL:
        messages.append(f"{steal:.1%} of the processor stolen")
    load, cores = provenance.load_before, (provenance.machine or Machine()).cores
    # The minute's mean includes our own previous trial, which used no more than the cores.
    if load is not None and cores and load > cores + MAX_WAITING:
        messages.append(f"load {load:.1f} on {cores} cores before the trial")
    return messages
