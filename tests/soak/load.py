"""Many quick trials, and the harness' memory, files, threads and children meanwhile: `make load`.

It fails where a harness grows by more than a key a trial, or where a trial is not recorded
exactly once. Several harnesses share the folder and the plan (`--harnesses 8`).
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.soak.harness import Harness
from tests.soak.held import Held, held

WARM = 0.1
"""Share of the trials after which imports and caches have settled."""
PER_TRIAL, SLACK = 1_000, 4_000_000
"""Bytes that a trial's key may take for good, and that memory may waver."""


class Sample(NamedTuple):
    """The harness at one moment; of several harnesses, the largest of each figure."""

    trials: int
    held: Held


def main() -> None:
    """Run it; exit code 1 where something grew or was lost."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=10_000)
    arguments.add_argument("--harnesses", type=int, default=1)
    arguments.add_argument("--every", type=float, default=5.0, help="Seconds between samples.")
    arguments.add_argument("--folder", type=Path, help="Keep what is made here, and resume there.")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="echobench-load-") as temporary:
        faults = load(asked.folder or Path(temporary), asked.trials, asked.every, asked.harnesses)
    sys.exit("; ".join(faults))


def load(folder: Path, trials: int, every: float, harnesses: int = 1) -> list[str]:
    """Run so many trials; print what was sampled; return what is wrong."""
    harness = Harness(folder, trials)
    before = sum(harness.records()[0].values())
    began = time.monotonic()
    with (folder / "output").open("a") as output:
        running = [harness.start(output=output.fileno()) for _ in range(harnesses)]
        samples: list[Sample] = []
        while None in [process.poll() for process in running]:
            time.sleep(every)
            found = sample([process.pid for process in running], harness)
            if found is not None:
                samples.append(found)
                if len(samples) % max(1, int(60 / every)) == 0:
                    print(f"{found.trials:,} trials: {found.held}", flush=True)
    took = time.monotonic() - began
    recorded, damaged = harness.records()
    done = sum(recorded.values()) - before
    print(f"{done:,} trials by {harnesses} in {took:,.0f} s, {took / max(1, done):.3f} s each")
    faults = growth([one for one in samples if one.trials < trials])
    if samples:
        print(f"with the table at the end: {max(one.held.rss for one in samples) / 2**20:.1f} MiB")
    faults += [f"exit code {process.returncode}" for process in running if process.returncode]
    doubled = sum(times > 1 for times in recorded.values())
    print(f"{len(recorded):,} of {trials:,} recorded, {doubled} doubled, {len(damaged)} damaged")
    if damaged or doubled or len(recorded) != trials:
        faults.append("not every trial is recorded exactly once")
    left = [*harness.processes(), *harness.leftovers()]
    return faults + ([f"left behind: {left}"] if left else [])


def sample(running: Sequence[int], harness: Harness) -> Sample | None:
    """Return what processes are like now; None where they have ended."""
    trials = len([*(harness.results / "logs").glob("*.log")])
    found = []
    for number in running:
        with contextlib.suppress(psutil.Error):
            found.append(held(psutil.Process(number)))
    return Sample(trials, Held(*map(max, zip(*found, strict=True)))) if found else None


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
    for place, name in enumerate(Held._fields):
        values = [one.held[place] for one in warm]
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


if __name__ == "__main__":
    main()
