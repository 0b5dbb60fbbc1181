"""How often intervals hold, and when `--seeds auto` decides: `python -m tests.benchmarks.clusters`.

Trials are drawn in processes that differ, by the suite's own functions, with fixed seeds.
`coverage` says how often the interval of a ratio and of a median holds the truth; `errors` how
often a run of `--seeds auto` names a winner where there is none; `time` when it has its last
verdict, by this rule and by the one before it: the exact sign test of seeds with a process each.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from echobench.analysis import statistics
from echobench.analysis.pairs import LOOKS, MARGIN, Decision, Pairs, settled
from echobench.analysis.resampling import Floats
from echobench.analysis.statistics import ERROR, censored_median, fewest, ratio
from echobench.harness.sharing import SEEDS_A_PROCESS

Effects = Callable[[np.random.Generator, tuple[int, ...], float], Floats]
START_S = 10.0
OLD_LOOKS, OLD_GROWTH = 5, 1.5
SPEEDS = (1.0, 1.1, 1.4, 2.0, 4.0)
"""Times to target of five backends of a task, over the fastest."""
TASKS = 2


def _two_kinds(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> Floats:
    return spread * rng.choice([-1.0, 1.0], shape)


EFFECTS: dict[str, Effects] = {
    "normal": lambda rng, shape, spread: rng.normal(0, spread, shape),
    "heavy tails": lambda rng, shape, spread: spread / 3**0.5 * rng.standard_t(3, shape),
    "two kinds": _two_kinds,
}
"""Of processes, on logarithms of times, by their standard deviation."""


def coverage(tries: int) -> None:
    """Print how often the interval holds the truth, by processes, trials and variances."""
    sizes = ((5, 2), (5, 4), (10, 2), (20, 2))
    print(f"| processes | between | within | {' | '.join(f'{f} x {n}' for f, n in sizes)} |")
    print(f"| --- | --- | --- | {' | '.join(['---'] * len(sizes))} |")
    for name, (between, within) in itertools.product(
        EFFECTS, ((0.0, 0.1), (0.1, 0.03), (0.1, 0.1), (0.1, 0.3))
    ):
        if between or name == "normal":
            held = (held_by(name, between, within, *size, tries) for size in sizes)
            texts = (f"{of_ratio:.0%}, {of_median:.0%}" for of_ratio, of_median in held)
            print(f"| {name} | {between:.0%} | {within:.0%} | {' | '.join(texts)} |", flush=True)


def held_by(
    name: str, between: float, within: float, processes: int, trials: int, tries: int
) -> tuple[float, float]:
    """Return how often the intervals of a ratio and of a median with misses hold the truth.

    A third of the times end beyond the budget: these trials miss.
    """
    rng, held = np.random.default_rng([processes, trials]), [0, 0]
    numbers = np.repeat(np.arange(processes), trials)
    for _ in range(tries):
        effects = EFFECTS[name](rng, (processes,), between)[numbers]
        logs = effects + rng.normal(0, within, len(numbers))
        low, high = ratio(np.exp(logs), processes=[numbers])[1:3]
        held[0] += low is not None and high is not None and low <= 1 <= high
        budget = 0.43 * math.hypot(between, within)
        hit = logs <= budget
        misses = np.full(int((~hit).sum()), math.exp(budget))
        order = np.concatenate([numbers[hit], numbers[~hit]])
        median = censored_median(np.exp(logs[hit]), misses, order)
        held[1] += (median.low or 0.0) <= 1 <= (median.high or math.inf)
    return held[0] / tries, held[1] / tries


def old_settled(logs: Floats, contests: int) -> Decision | None:
    """Return what the rule before this one concluded from the logarithms of independent pairs."""
    error = ERROR / (OLD_LOOKS * contests)
    tested = stats.quantile_test(logs, q=0.0, p=0.5)
    if tested.pvalue <= error:
        return Decision.FIRST if np.median(logs) > 0 else Decision.SECOND
    # The stubs take the interval for a number.
    interval: Any = tested.confidence_interval(confidence_level=1 - error)
    alike = np.abs([interval.low, interval.high]).max() < math.log1p(MARGIN)
    return Decision.ALIKE if alike else None


def old_looks(contests: int) -> list[int]:
    """Return after how many seeds the rule before this one looked."""
    return [int(fewest(OLD_LOOKS * contests) * OLD_GROWTH**n) for n in range(OLD_LOOKS)]


def drawn(
    rng: np.random.Generator, name: str, between: float, within: float, cells: int, trials: int
) -> Floats:
    """Return logarithms of times, [cells, processes of the last look, trials]."""
    processes = max(*LOOKS, *old_looks(10 * TASKS))
    effects = EFFECTS[name](rng, (cells, processes, 1), between)
    return effects + rng.normal(0, within, (cells, processes, trials))


def decided(logs: Floats, looks: int, contests: int) -> Decision | None:
    """Return what a look after so many processes concludes from [processes, trials]."""
    ratios = np.exp(logs[:looks])
    numbers = np.repeat(np.arange(looks), ratios.shape[1])
    return settled(Pairs(ratios.ravel(), processes=numbers), contests)


def errors(tries: int) -> None:
    """Print how often a winner is named in a run of cells that do not differ."""
    print("| processes | between | 2 cells | 4 cells | 5 cells, 2 tasks |")
    print("| --- | --- | --- | --- | --- |")
    for name, between in itertools.product(EFFECTS, (0.05, 0.2)):
        sizes = ((2, 1), (4, 1), (5, 2))
        shares = (wrong(name, between, cells, tasks, tries) for cells, tasks in sizes)
        print(f"| {name} | {between:.0%} | {' | '.join(f'{s:.1%}' for s in shares)} |", flush=True)


def wrong(name: str, between: float, cells: int, tasks: int, tries: int) -> float:
    """Return in which share of runs of cells that do not differ one is named the winner."""
    rng = np.random.default_rng([cells, tasks])
    pairs = [*itertools.combinations(range(cells), 2)]

    def errs() -> bool:
        for _ in range(tasks):
            logs = drawn(rng, name, between, 0.03, cells, SEEDS_A_PROCESS)
            for a, b in pairs:
                looks = (decided(logs[b] - logs[a], n, tasks * len(pairs)) for n in LOOKS)
                if next(filter(None, looks), None) in WINNERS:
                    return True
        return False

    return sum(errs() for _ in range(tries)) / tries


WINNERS = (Decision.FIRST, Decision.SECOND)


def time_to_verdict(tries: int) -> None:
    """Print how long a contest takes, and five backends of two tasks, by both rules."""
    print("| | trial | between | old rule | new rule | decided |")
    print("| --- | --- | --- | --- | --- | --- |")
    for label, speeds, tasks in (
        ("2 cells, ratio 1", (1.0, 1.0), 1),
        ("2 cells, ratio 1.1", (1.0, 1.1), 1),
        ("2 cells, ratio 1.3", (1.0, 1.3), 1),
        ("2 cells, ratio 2", (1.0, 2.0), 1),
        ("5 cells, 2 tasks", SPEEDS, TASKS),
    ):
        for trial_s, between in itertools.product((0.3, 3.0), (0.03, 0.1)):
            old, new, shares = _times(speeds, tasks, trial_s, between, tries)
            print(
                f"| {label} | {trial_s} s | {between:.0%} | {old:,.0f} s | {new:,.0f} s | "
                f"{shares[0]:.0%}, {shares[1]:.0%} |",
                flush=True,
            )


def _times(
    speeds: tuple[float, ...], tasks: int, trial_s: float, between: float, tries: int
) -> tuple[float, float, tuple[float, float]]:
    """Return the mean time to the last verdict by both rules, and what was decided."""
    rng = np.random.default_rng(len(speeds))
    pairs = [*itertools.combinations(range(len(speeds)), 2)]
    contests = tasks * len(pairs)
    spent, shares = [0.0, 0.0], [0, 0]
    for _ in range(tries):
        last = [0, 0]
        for _ in range(tasks):
            logs = drawn(rng, "normal", between, 0.05, len(speeds), SEEDS_A_PROCESS)
            logs += np.log(speeds)[:, None, None]
            for a, b in pairs:
                apart = logs[b] - logs[a]
                ends = (
                    [old_settled(apart[:n, 0], contests) for n in old_looks(contests)],
                    [decided(apart, n, contests) for n in LOOKS],
                )
                for which, looks in enumerate((old_looks(contests), LOOKS)):
                    at = next((n for n, d in zip(looks, ends[which], strict=True) if d), None)
                    shares[which] += at is not None
                    last[which] = max(last[which], at or looks[-1])
        work_s = tasks * trial_s * float(np.mean(speeds))
        starts_s = tasks * START_S
        spent[0] += len(speeds) * last[0] * (starts_s + work_s)
        spent[1] += len(speeds) * last[1] * (starts_s + SEEDS_A_PROCESS * work_s)
    found = [share / (tries * contests) for share in shares]
    return spent[0] / tries, spent[1] / tries, (found[0], found[1])


def main() -> None:
    """Run one of the simulations."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("what", choices=("coverage", "errors", "time"))
    arguments.add_argument("--tries", type=int, default=400)
    asked = arguments.parse_args()
    statistics.RESAMPLES = 999
    {"coverage": coverage, "errors": errors, "time": time_to_verdict}[asked.what](asked.tries)


if __name__ == "__main__":
    main()
