"""Engines side by side on the same cores, dispatch by dispatch.

`python -m tests.benchmarks.engines --cell partial:open jax flax torch-native:compiled` prints for
each engine, `BACKEND` or `BACKEND:ENGINE`, the time of an update and its ratio to the first one's.

Each engine trains in a process of its own; a dispatch of each, in random order, is a round, which
gives a ratio: what disturbs the machine for longer than a round disturbs both sides. A set of
processes gives the median of its rounds, and the interval is over sets, since two processes of
one engine differ by more than the rounds of one do. On one core `--cpu` counts the processor's
time, which other programs take none of.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from typing import IO

from echobench.analysis.statistics import ratio
from echobench.core.sequences import stream
from echobench.core.training import fresh_rows
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins

EPOCHS = 100
"""Epochs in a call of `train`."""
DISPATCH_S = 0.3
"""How long a dispatch lasts at least, about; it is as many calls as that takes."""


class Process:
    """An engine in a process of its own."""

    def __init__(self, engine: str, asked: argparse.Namespace, cell: str) -> None:
        backend = Plugins().backends[engine.partition(":")[0]].value
        threads = str(len(asked.cores))
        arguments = [cell, engine, "--serve", "--cores", ",".join(map(str, asked.cores))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--cell", *arguments, *["--cpu"] * asked.cpu],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "KERAS_BACKEND": backend.keras_backend,
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "OPENBLAS_NUM_THREADS": threads,
                **backend.environment("cpu", len(asked.cores)),
            },
        )

    def measure(self) -> float:
        """Return seconds per update; the first answer comes when the engine is compiled."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        print(file=requests, flush=True)
        return float(answers.readline())

    def end(self) -> None:
        """Wait until the process has ended."""
        self._process.communicate()


def serve(engine: str, asked: argparse.Namespace, answers: IO[str]) -> None:
    """Train a dispatch for each line of input; write seconds per update."""
    os.sched_setaffinity(0, asked.cores)
    clock = time.process_time if asked.cpu else time.perf_counter
    plugins = Plugins()
    name, _, other = engine.partition(":")
    backend = plugins.backends[name].value
    backend.configure("cpu", len(asked.cores))
    selector, _, division = asked.cell[0].rpartition(":")
    _, task, recipe = resolve(selector, division, plugins)
    program = backend.program(task, recipe)
    trainer = (
        backend.other_trainer(other, program, EPOCHS) if other else backend.trainer(program, EPOCHS)
    )
    trainer.reset(program.initial_weights(stream(0, "weights")))
    draws = stream(0, "train")

    def dispatch(calls: int) -> float:
        """Return seconds per call."""
        blocks = [fresh_rows(task, recipe, draws, EPOCHS) for _ in range(calls)]
        start = clock()
        for rows in blocks:
            trainer.train(rows)
        return (clock() - start) / calls

    dispatch(1)  # compiles
    calls = max(1, round(DISPATCH_S / dispatch(1)))
    for _ in sys.stdin:
        print(dispatch(calls) / (EPOCHS * program.batches), file=answers, flush=True)


def main() -> None:
    """Measure, or serve."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("engines", nargs="+", metavar="BACKEND[:ENGINE]")
    arguments.add_argument("--cell", action="append", required=True, metavar="TASK:DIVISION")
    arguments.add_argument(
        "--cores", type=lambda text: [*map(int, text.split(","))], default=[0, 1], metavar="N,..."
    )
    arguments.add_argument("--cpu", action="store_true", help="Measure the processor's time.")
    arguments.add_argument("--rounds", type=int, default=9, help="Rounds of a set.")
    arguments.add_argument("--sets", type=int, default=6, help="Sets of processes.")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.serve:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a framework prints is no answer
        serve(asked.engines[0], asked, answers)
        return
    dice = random.Random(0)
    for cell in asked.cell:
        compare(cell, asked, dice)


def compare(cell: str, asked: argparse.Namespace, dice: random.Random) -> None:
    """Measure the engines on a cell, and print a line for each."""
    engines: list[str] = asked.engines
    ratios: dict[str, list[float]] = {engine: [] for engine in engines}
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(asked.sets):
        processes = {e: Process(e, asked, cell) for e in dice.sample(engines, len(engines))}
        for process in processes.values():
            process.measure()  # compiles
        times: dict[str, list[float]] = {engine: [] for engine in engines}
        for _ in range(asked.rounds):
            for engine in dice.sample(engines, len(engines)):
                times[engine].append(processes[engine].measure())
        for process in processes.values():
            process.end()
        for engine in engines:
            pairs = zip(times[engine], times[engines[0]], strict=True)
            ratios[engine].append(statistics.median(own / first for own, first in pairs))
            seconds[engine].append(statistics.median(times[engine]))
    for engine in engines:
        found = ratio(ratios[engine])
        interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
        microseconds = statistics.median(seconds[engine]) * 1e6
        print(
            f"{cell}  {engine:24} {microseconds:9.1f} us  {found.value:.3f}{interval}", flush=True
        )


if __name__ == "__main__":
    main()
