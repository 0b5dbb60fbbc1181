"""Is a slowdown of 20% caught, and is nothing caught where there is none: `make regression`.

Each run measures three sides, seed by seed in random order: JAX, JAX again, and JAX slowed
(`slowed.py`). `echobench compare --fail-if` then judges the run beside itself, and beside the
first run, as a baseline that was stored then.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from echobench.analysis.frame import frame
from echobench.analysis.pairs import pair
from echobench.analysis.sides import Side
from echobench.analysis.statistics import FEWEST_PAIRS, ratio
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import JobOptions

SLOWED = Path(__file__).with_name("slowed.py")
METRIC = "seconds_per_update"
LIMIT = f"{METRIC}>+5%"
BASE, SAME, SLOWER = "backend=jax,repeat=0", "backend=jax,repeat=1", "backend=slowed,repeat=0"
SAMPLES = 2000


def main() -> None:
    """Measure the runs and judge them, or say what would be found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=10)
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--task", default="partial")
    arguments.add_argument("--epochs", type=int, default=1000)
    arguments.add_argument(
        "--folder", type=Path, help="Keep the records here; go on with what is there."
    )
    arguments.add_argument(
        "--power", type=Path, help="Measure nothing: say what is found, given these records' noise."
    )
    asked = arguments.parse_args()
    if asked.runs < 1 or asked.seeds < FEWEST_PAIRS:
        arguments.error(f"expected --runs 1 or more and --seeds {FEWEST_PAIRS} or more")
    if asked.power:
        power(logs(f"{asked.power}[repeat=0]", f"{asked.power}[repeat=1]", Plugins()))
        return
    with tempfile.TemporaryDirectory(prefix="echobench-") as temporary:
        folder = asked.folder or Path(temporary)
        plugins = Plugins([SLOWED])
        selection = Selection(
            tasks=[asked.task],
            backends=["jax", "slowed"],
            seeds=asked.seeds,
            repeats=2,
            max_epochs=asked.epochs,
            timeout_s=60,
            cache=True,
        )
        measure(selection, asked.runs, folder, plugins)
        runs = sorted((f for f in folder.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))
        judge(runs)
        spread(runs, plugins)


def measure(selection: Selection, runs: int, folder: Path, plugins: Plugins) -> None:
    """Run all trials; the records of each run are in a folder of its own, and not made again."""
    trials = [t for t in plan(selection, plugins) if (t.backend, t.repeat) != ("slowed", 1)]
    matrix = Matrix(plugins, Store(folder / "all"), JobOptions(command=[*sys.orig_argv]))
    for run in range(runs):
        store = Store(folder / str(run))
        if store.folder.exists():
            continue
        for record in matrix.run(trials, Watcher()):
            store.append(record)
        print(f"run {run}: {len(trials)} trials", flush=True)


def judge(runs: list[Path]) -> None:
    """Print how often `compare --fail-if` finds a regression, on each side and baseline."""
    for name, pairs in (
        ("beside it in the same run", [(run, run) for run in runs]),
        ("a baseline stored in run 0", [(runs[0], run) for run in runs[1:]]),
    ):
        for side, what in ((SAME, "the same"), (SLOWER, "20% slower")):
            codes = [compare(f"{a}[{BASE}]", f"{b}[{side}]") for a, b in pairs]
            print(f"{name}: {what}: a regression in {codes.count(3)} of {len(codes)}", flush=True)


def compare(a: str, b: str) -> int:
    """Return the exit code of the command that a CI job runs."""
    command = ["echobench", "compare", a, b, "--metric", METRIC, "--fail-if", LIMIT]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--plugin", str(SLOWED)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 3}:
        raise SystemExit(done.stderr)
    return done.returncode


def logs(a: str, b: str, plugins: Plugins) -> list[float]:
    """Return the logarithms of the ratios of pairs of two sides, as `compare` makes them."""
    sides = [Side.parse(text, Path()) for text in (a, b)]
    a_side, b_side = (frame(side.records(plugins)) for side in sides)
    pairs = pair(a_side, b_side, METRIC, run=["task", "seed"])
    return [math.log(one) for one in pairs.ratios]


def spread(runs: list[Path], plugins: Plugins) -> None:
    """Print how much the ratios of pairs differ, beside each other and beside run 0."""
    for side in (SAME, SLOWER):
        for first in (None, runs[0]):
            found = [
                one
                for run in (runs[1:] if first else runs)
                for one in logs(f"{first or run}[{BASE}]", f"{run}[{side}]", plugins)
            ]
            if not found:
                continue  # a single run has no earlier one
            low, *_, high = statistics.quantiles(found, n=20)
            print(
                f"{side} against {'run 0' if first else 'its own run'}: {len(found)} pairs, "
                f"median ratio {math.exp(statistics.median(found)):.3f}, nine of ten in "
                f"[{math.exp(low):.3f}, {math.exp(high):.3f}]"
            )


def power(noise: list[float]) -> None:
    """Print how often a slowdown is found, by number of pairs drawn from the measured ones.

    Args:
        noise: logarithms of the ratios of a cell and itself.
    """
    rng = random.Random(0)
    print("pairs | limit | found where there is no slowdown, 10%, 15%, 20%, 30%")
    for pairs in (6, 8, 10, 15):
        lows = []
        for _ in range(SAMPLES):
            # A cell beside itself has no direction.
            drawn = [rng.choice((-1, 1)) * rng.choice(noise) for _ in range(pairs)]
            low = ratio([math.exp(one) for one in drawn]).low
            assert low is not None  # there are enough pairs
            lows.append(low)
        for limit in (1.0, 1.05, 1.1):
            found = [
                sum(low * slower > limit for low in lows) for slower in (1, 1.1, 1.15, 1.2, 1.3)
            ]
            shares = ", ".join(f"{one / SAMPLES:.1%}" for one in found)
            print(f"{pairs:5} | +{limit - 1:.0%} | {shares}", flush=True)


if __name__ == "__main__":
    main()
