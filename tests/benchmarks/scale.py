"""Seconds and memory of a large plan, a large folder and its merge: `make bench-scale`.

Records are the committed ones, varied (`made_up.py`), in a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from msgspec.structs import replace

from echobench.harness.plan import Selection, plan
from echobench.machine import facts
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.cell import StoredTrial
from tests.benchmarks.made_up import RESULTS, fill

PLAN = ["--backend", "jax", "--task", "partial", "--engine", "fused", "--engine", "fit"]


def main() -> None:
    """Make records, run the commands, print what each took."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=10_000)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--folder", type=Path, help="Keep the records here; use what is there.")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="echobench-") as temporary:
        folder = asked.folder or Path(temporary)
        plan_of(asked.trials, folder / "plan")
        table_of(asked.records, folder / "table")
        merge_of(asked.records, folder / "table", folder / "merged")


def plan_of(trials: int, folder: Path) -> None:
    """Time a plan: what would run, and the same command again when all is done."""
    command: list[str | Path] = [
        "run",
        *PLAN,
        "--seeds",
        str(trials // 2),
        "--threads",
        "1",
        "--results",
        folder,
    ]
    measure(f"{trials:,} trials, to do: run --dry-run", *command, "--dry-run")
    if not folder.exists():
        done(trials, folder)
    measure(f"{trials:,} trials, done: run --dry-run", *command, "--dry-run")
    measure(f"{trials:,} trials, done: run", *command)


def done(trials: int, folder: Path) -> None:
    """Write records as if the plan's trials had been run here, one file as a run makes."""
    selection = Selection(
        tasks=["partial"], backends=["jax"], engines=["fused", "fit"], seeds=trials // 2, threads=1
    )
    (real, *_) = (r for r in Store.read(RESULTS / "tasks") if r.task == "partial")
    provenance = replace(real.provenance, machine=facts.machine_facts())
    folder.mkdir(parents=True)
    with (folder / "records-0.jsonl").open("w", encoding="utf-8") as file:
        for trial in plan(selection, Plugins()):
            told = StoredTrial.of(trial)
            fields = {name: getattr(told, name) for name in ("engine", "division", "seed")}
            changed = {**fields, "trial": told, "key": trial.key, "provenance": provenance}
            file.write(replace(real, **changed).to_json() + "\n")


def table_of(records: int, folder: Path) -> None:
    """Time the table of a folder, in each form."""
    if not folder.exists():
        fill(folder, records)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{records:,} records of {size / records / 1e3:.1f} kB, {size / 1e9:.2f} GB")
    for form in ("table", "json", "csv"):
        name = f"{records:,} records: table --format {form}"
        measure(name, "table", "--results", folder, "--format", form)


def merge_of(records: int, source: Path, into: Path) -> None:
    """Time a merge of a folder's files into an empty one, and the same merge again."""
    measure(f"{records:,} records: merge", "merge", source, "--into", into)
    measure(f"{records:,} records: merge again", "merge", source, "--into", into)


def measure(name: str, *command: str | Path) -> None:
    """Run echobench; print its seconds and the largest memory of all its processes together."""
    peak, before = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = threading.Event()
    start = time.perf_counter()
    with psutil.Popen(
        [sys.executable, "-m", "echobench", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.05):
                peak = max(peak, memory(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    if code:
        raise SystemExit(f"{name}: exit code {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = f"{seconds:.1f} s, of processors {spent:.1f} s, {peak / 2**30:.2f} GiB"
    print(f"{name}: {told}", flush=True)


def memory(process: psutil.Process) -> int:
    """Return the resident bytes of a process and all that it started."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # between being listed and being asked
    return total


if __name__ == "__main__":
    main()
