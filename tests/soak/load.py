"""Many quick trials by one harness, and the parent's memory, files, threads and children meanwhile.

`make load`: 10,000 trials take an hour or more on two cores. It fails where the parent grows by
more than a key a trial, or where a trial is not recorded exactly once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.soak.harness import Harness

WARM = 0.1
"""Share of the trials after which imports and caches have settled."""
PER_TRIAL, SLACK = 1_000, 4_000_000
"""Bytes that a trial's key may take for good, and that memory may waver."""


class Sample(NamedTuple):
    """The parent at one moment: its resident bytes, open files, threads and child processes."""

    trials: int
    rss: int
    files: int
    threads: int
    children: int


def main() -> None:
    """Run it; exit code 1 where something grew or was lost."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=10_000)
    arguments.add_argument("--every", type=float, default=5.0, help="Seconds between samples.")
    arguments.add_argument("--folder", type=Path, help="Keep what is made here, and resume there.")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="echobench-load-") as temporary:
        faults = load(asked.folder or Path(temporary), asked.trials, asked.every)
    sys.exit("; ".join(faults))


def load(folder: Path, trials: int, every: float) -> list[str]:
    """Run so many trials; print what was sampled; return what is wrong."""
    harness = Harness(folder, trials)
    before = sum(harness.records()[0].values())
    began = time.monotonic()
    with (folder / "output").open("a") as output:
        process = harness.start(output=output.fileno())
        samples: list[Sample] = []
        while process.poll() is None:
            time.sleep(every)
            found = sample(psutil.Process(process.pid), harness)
            if found is not None:
                samples.append(found)
                if len(samples) % max(1, int(60 / every)) == 0:
                    print(told(found), flush=True)
    took = time.monotonic() - began
    recorded, damaged = harness.records()
    done = sum(recorded.values()) - before
    print(f"{done:,} trials in {took:,.0f} s, {took / max(1, done):.3f} s each")
    faults = growth([one for one in samples if one.trials < trials])
    if samples:
        print(f"the table at the end: {max(one.rss for one in samples) / 2**20:.1f} MiB")
    if process.returncode:
        faults.append(f"exit code {process.returncode}")
    if damaged or set(recorded.values()) != {1} or len(recorded) != trials:
        faults.append(f"{len(recorded):,} of {trials:,} recorded, {len(damaged)} damaged lines")
    left = [*harness.processes(), *harness.leftovers()]
    return faults + ([f"left behind: {left}"] if left else [])


def sample(process: psutil.Process, harness: Harness) -> Sample | None:
    """Return what a process is like now; None where it has ended."""
    trials = len([*(harness.results / "logs").glob("*.log")])
    try:
        with process.oneshot():
            return Sample(
                trials,
                process.memory_info().rss,
                process.num_fds(),
                process.num_threads(),
                len(process.children(recursive=True)),
            )
    except psutil.Error:
        return None


def growth(samples: Sequence[Sample]) -> list[str]:
    """Print the first and the last of each figure, and its slope; return which of them grew.

    Args:
        samples: while trials ran: the table at the end imports what no trial needs.
    """
    faults = []
    warm = [one for one in samples if one.trials >= WARM * samples[-1].trials] if samples else []
    if len(warm) < 4:
        return ["too few samples: sample more often, or run more trials"]
    quarter = len(warm) // 4
    trials = [one.trials for one in warm]
    for name in ("rss", "files", "threads", "children"):
        values = [getattr(one, name) for one in warm]
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        slope = statistics.linear_regression(trials, values).slope if len({*trials}) > 1 else 0.0
        print(
            f"{name}: first {first:,.0f}, last {last:,.0f}, largest {max(values):,}, "
            f"{slope:+,.3f} a trial"
        )
        allowed = SLACK + PER_TRIAL * trials[-1] if name == "rss" else 1
        if last - first > allowed:
            faults.append(f"{name} grew by {last - first:,.0f}; expected at most {allowed:,}")
    return faults


def told(one: Sample) -> str:
    """Return a sample in words."""
    return (
        f"{one.trials:,} trials: {one.rss / 2**20:.1f} MiB, {one.files} files, "
        f"{one.threads} threads, {one.children} children"
    )


if __name__ == "__main__":
    main()
