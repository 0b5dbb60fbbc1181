"""What it costs to run trials elsewhere, and what the driver can take: `make bench-executors`.

- overhead: trials that do next to nothing, on Ray and on this machine, in turn, one at a time;
- scaling: one node of one CPU against two, on trials that sleep and on trials that train;
- driver: how many records a second are planned, claimed, taken in and kept, where trials
  take no time and run nowhere;
- through Ray: the same, where each is a task that comes back at once, a thousand under way.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from echobench import Connection, Executor, Job, Record, Site, unpack_records
from echobench.analysis.statistics import ratio
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.reading import decoded
from echobench.trial.job import JobOptions
from tests.clusters import RayCluster, ray_cluster
from tests.soak.harness import PLUGIN, Harness

ROOT = Path(__file__).parents[2]
UNDER_WAY = 1000
"""Tasks that Ray has at once where it is measured."""


def answer() -> Record:
    """Return a committed record, in place of what a worker would make."""
    (file,) = (ROOT / "results" / "speed").glob("records-*.jsonl")
    return decoded(file.read_bytes().splitlines()[0])


class Instant(Executor):
    """Jobs that take no time."""

    name: ClassVar[str] = "instant"

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        """Connect to nothing."""
        yield _Answers()


class _Answers(Connection):
    def __init__(self) -> None:
        self._text = packed(answer())

    def room(self) -> int:
        return 1

    def start(self, job: Job) -> str:
        self._job = job
        return job.trial.key

    def ended(self, handles: list[str], seconds: float) -> list[str]:
        return handles

    def records(self, handle: str) -> list[Record]:
        return unpack_records(self._job, self._text.replace("KEY", handle))

    def cancel(self, handle: str) -> None:
        """Do nothing."""


class ThroughRay(Executor):
    """Jobs that take no time, as tasks of a Ray cluster."""

    name: ClassVar[str] = "through-ray"

    address: str

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        """Join the cluster, whose tasks return an answer in place of a worker's."""
        import ray

        text = packed(answer())
        real = Plugins().executor("ray").value.model_validate({"address": self.address})
        with real.connect(job, site) as connection:
            run = ray.remote(lambda _, key, *rest: text.replace("KEY", key))
            vars(connection).update(_run=run, room=lambda: UNDER_WAY)
            yield connection


def packed(record: Record) -> str:
    """Return what `run_packed_job` returns of a record, with KEY for its key."""
    line = json.dumps({**record.to_dict(), "key": "KEY"})
    return json.dumps({"records": [line], "files": {}})


def driver(count: int, executor: Executor) -> None:
    """Measure the driver alone."""
    plugins = Plugins([PLUGIN])
    began = time.perf_counter()
    selection = Selection(tasks=["tiny"], backends=["knowing"], seeds=count)
    trials = plan(selection, plugins)
    planned = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="echobench-") as folder:
        matrix = Matrix(plugins, Store(Path(folder)), JobOptions(), executor, gate=False)
        began, before = time.perf_counter(), time.process_time()
        kept = sum(1 for _ in matrix.run(trials, Watcher()))
        took, spent = time.perf_counter() - began, time.process_time() - before
        size = sum(file.stat().st_size for file in Path(folder).glob("*.jsonl"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"driver, {executor.name}: {kept:,} trials planned in {planned:.2f} s, kept in "
        f"{took:.1f} s: {kept / took:,.0f} a second, {spent / kept * 1e3:.2f} ms of a processor "
        f"and {size / kept / 2**10:.1f} KiB each, {peak:,.0f} MiB at most",
        flush=True,
    )


def timed(harness: Harness, *more: str) -> float:
    """Return the seconds that a run takes, from its first trial's start to its last record."""
    began = time.perf_counter()
    process = harness.start(*more)
    process.wait()
    took = time.perf_counter() - began
    found, damaged = harness.records()
    if damaged or len(found) != len(harness.trials):
        raise RuntimeError(f"{len(found)} of {len(harness.trials)} trials reached: {damaged}")
    return took


def walls(harness: Harness) -> list[float]:
    """Return the seconds between the starts of trials that ran one after the other."""
    text = "".join(path.read_text() for path in harness.results.glob("records-*.jsonl"))
    starts = sorted(
        datetime.fromisoformat(json.loads(line)["started_at"]).timestamp()
        for line in text.splitlines()
    )
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


def overhead(cluster: RayCluster, rounds: int, folder: Path) -> None:
    """Measure what a trial takes on a node of one CPU beyond what it takes here, in turn."""
    told = ("--executor", "ray", "--address", cluster.address)
    pairs = []
    for number in range(rounds):
        here, there = (Harness(folder / f"{kind}{number}", seeds=6) for kind in ("here", "there"))
        timed(here)
        timed(there, *told)
        pairs.append((statistics.median(walls(here)), statistics.median(walls(there))))
    differences = sorted(there - here for here, there in pairs)
    print(
        f"overhead: {statistics.median(h for h, _ in pairs):.2f} s a trial here, "
        f"{statistics.median(t for _, t in pairs):.2f} s on Ray: "
        f"{statistics.median(differences):+.2f} s [{differences[0]:+.2f}, {differences[-1]:+.2f}], "
        f"{rounds} pairs of runs of 6 trials"
    )


def scaling(cluster: RayCluster, second: str, rounds: int, folder: Path) -> None:
    """Measure one node against two, in turn."""
    told = ("--executor", "ray", "--address", cluster.address)
    for what, task in (("sleep", "tiny[nap=0.5]"), ("compute", "tiny[busy=0.5]")):
        found = []
        for number in range(rounds):
            one, two = (Harness(folder / f"{what}{number}{n}", seeds=8, task=task) for n in "12")
            cluster.kill(second)
            alone = timed(one, *told)
            cluster.add(second)
            found.append(alone / timed(two, *told))
        value, low, high, _ = ratio(found)
        interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        print(f"scaling: trials that {what}, two nodes against one: {value:.2f}x{interval}")


def main() -> None:
    """Measure all of it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=6)
    arguments.add_argument("--records", type=int, default=10_000)
    asked = arguments.parse_args()
    driver(asked.records, Instant())
    with tempfile.TemporaryDirectory(prefix="echobench-") as name:
        with ray_cluster(1) as cluster:
            driver(asked.records, ThroughRay(address=cluster.address))
            overhead(cluster, asked.rounds, Path(name) / "overhead")
        with ray_cluster(1, 1) as cluster:
            scaling(cluster, "127.0.0.3", asked.rounds, Path(name) / "scaling")


if __name__ == "__main__":
    main()
