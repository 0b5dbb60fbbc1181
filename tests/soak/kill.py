"""Harnesses killed at random moments, each followed by the same command: `make soak`.

Two in three rounds have one harness, the others two that share the folder; one of them, or
both, are killed. A moment is drawn from the whole life of a harness, as long as it was
measured to be, or from the hundredth of it in which a worker ends and its record is written.
When a plan is through, every trial must be recorded exactly once, and nothing else be left.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.harness import Harness

TRIALS = 6
SIGNALS = [*[signal.SIGKILL] * 7, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
TOGETHER, AT_A_RECORD, AGAIN = 1 / 3, 1 / 4, 1 / 2
"""Shares of rounds with two harnesses, of moments about a record, of signals sent twice."""
ABOUT_S = 0.06
"""Seconds within which a worker's folder is gone and its record is on disk."""
LONGEST_S = 600.0
GONE_S = 60.0
"""That a guard may take to end all, on a busy machine."""


@dataclass
class Tally:
    """What happened, and what should not have: `faults` says where."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    plans: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: int = 0
    orphans: int = 0
    leftovers: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts."""
        kinds = ", ".join(f"{n} {name}" for name, n in self.kills.most_common())
        when = ", ".join(f"{n} {name}" for name, n in self.moments.most_common())
        return (
            f"{self.kills.total()} kills ({kinds}; {when}), {self.commands} commands, "
            f"{self.plans} plans: {self.records} records, {self.lost} lost, "
            f"{self.doubled} doubled, {self.damaged} damaged lines, {self.orphans} orphans, "
            f"{self.leftovers} files left"
        )


def main() -> None:
    """Kill; exit code 1 where anything was lost, doubled, damaged or left."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        tally = soak(Path(folder), asked.kills, asked.seed)
    print(f"seed {asked.seed}: {tally}", *tally.faults, sep="\n")
    sys.exit(bool(tally.faults))


def soak(
    folder: Path, kills: int, seed: int, trials: int = TRIALS, life: float | None = None
) -> Tally:
    """Kill so many harnesses, of as many plans as that takes.

    Args:
        folder: for all that is made.
        kills: how many.
        seed: of all that is drawn.
        trials: of a plan.
        life: seconds from which moments are drawn; measured by running a plan through.
    """
    rng = random.Random(seed)
    tally = Tally()
    life = life or _run_through(Harness(folder / "first", trials), tally)
    while tally.kills.total() < kills:
        harness = Harness(folder / str(tally.plans), trials)
        while len(harness.records()[0]) < trials and tally.kills.total() < kills:
            _round(harness, life, rng, tally)
        _run_through(harness, tally)
        print(tally, flush=True)
    return tally


def _run_through(harness: Harness, tally: Tally) -> float:
    """Run the command to its end, and count what came of the plan; return its seconds."""
    began = time.monotonic()
    code, said = _ended(harness.start(output=subprocess.PIPE))
    took = time.monotonic() - began
    tally.commands += 1
    tally.plans += 1
    if code:
        tally.faults.append(f"exit code {code}: {said}")
    recorded, damaged = harness.records()
    tally.records += recorded.total()
    lost = {trial.key for trial in harness.trials} - recorded.keys()
    doubled = [key for key, times in recorded.items() if times > 1]
    unnamed = [line for line in damaged if line.split(": ")[0] not in said]
    left = harness.leftovers()
    tally.lost += len(lost)
    tally.doubled += len(doubled)
    tally.damaged += len(damaged)
    tally.leftovers += len(left)
    for what, found in (("lost", lost), ("doubled", doubled), ("unnamed", unnamed), ("left", left)):
        if found:
            tally.faults.append(f"{what} in plan {tally.plans}: {sorted(map(str, found))}")
    return took


def _round(harness: Harness, life: float, rng: random.Random, tally: Tally) -> None:
    """Start one harness or two, and kill one of them or both."""
    count = 2 if rng.random() < TOGETHER else 1
    running = [harness.start(output=subprocess.PIPE) for _ in range(count)]
    tally.commands += count
    for place, process in enumerate(running):
        if place == 0 or rng.random() < 0.5:
            _strike(process, harness, life, rng, tally)
        elif _ended(process)[0]:
            tally.faults.append(f"exit code {process.returncode} beside one that was killed")
    deadline = time.monotonic() + GONE_S
    while (left := harness.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    tally.orphans += len(left)
    if left:
        tally.faults.append(f"orphans: {left}")


def _strike(
    process: subprocess.Popen[str], harness: Harness, life: float, rng: random.Random, tally: Tally
) -> None:
    """Send a signal at a random moment, and look how the harness ends."""
    number = rng.choice(SIGNALS)
    if rng.random() < AT_A_RECORD:
        moment = "about a record"
        _await_a_worker_s_end(process, harness, life)
        time.sleep(rng.uniform(0, ABOUT_S))
    else:
        moment = "any time"
        time.sleep(rng.uniform(0, life))
    if process.poll() is None:
        tally.kills[number.name] += 1
        tally.moments[moment] += 1
        process.send_signal(number)
        if rng.random() < AGAIN and number != signal.SIGKILL:
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(number)
    code, said = _ended(process)
    if code == 0:
        return  # it was through
    # Before our own code runs, Python ends by the signal itself.
    if code not in (130, -number):
        tally.faults.append(f"exit code {code} after {number.name}: {said}")
    elif code == 130 and (said.count("interrupted: ") != 1 or "Traceback" in said):
        tally.faults.append(f"after {number.name}: {said}")


def _await_a_worker_s_end(process: subprocess.Popen[str], harness: Harness, life: float) -> None:
    """Wait until the folder of a worker's own is gone: its record is written next."""
    deadline = time.monotonic() + life
    before: set[Path] = set()
    while process.poll() is None and time.monotonic() < deadline:
        now = {*harness.temporary.iterdir()}
        if before - now:
            return
        before = now
        time.sleep(0.001)


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code, and what it said."""
    try:
        outputs = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        outputs = process.communicate()
        return 1000, f"it hung; {''.join(outputs)}"
    return process.returncode, "".join(outputs)


if __name__ == "__main__":
    main()
