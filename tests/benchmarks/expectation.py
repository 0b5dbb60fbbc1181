"""Compare what a run was expected to take with what it took: `make expectation`.

Each matrix runs twice in a folder of its own: first without records, foreseen by the shipped
medians, then, with other seeds, by the records of the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from typing import Any

MATRICES = {
    "whole, open": ("--task", "whole", "--division", "open"),
    "partial, open": ("--task", "partial", "--division", "open"),
    "whole, closed, fit and fused": (
        "--task", "whole", "--engine", "fit", "--engine", "fused", "--division", "closed",
    ),
}  # fmt: skip # a line reads better
BACKENDS = ("--backend", "jax", "--backend", "tensorflow")
SEEDS = 3
RATIOS = {"shipped": 2.0, "records": 1.3}
"""How many times as long, or as short, a run may be as it was expected to be."""


def main() -> int:
    """Run the matrices; print expectation and truth; return 1 if one was too far off."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=SEEDS)
    asked = arguments.parse_args()
    print(f"{'matrix':30} {'trials':>6} {'by':>8} {'expected':>9} {'took':>9} {'ratio':>6}")
    far_off = 0
    for name, options in MATRICES.items():
        with tempfile.TemporaryDirectory(prefix="echobench-") as folder:
            for source, factor in (("shipped", 1), ("records", 2)):
                seeds = str(asked.seeds * factor)
                command = ("run", *options, *BACKENDS, "--seeds", seeds, "--results", folder)
                ahead = json.loads(echobench(*command, "--dry-run", "--json"))
                began = time.monotonic()
                echobench(*command)
                took = time.monotonic() - began
                ratio = took / ahead["expected_s"]
                far_off += not 1 / RATIOS[source] <= ratio <= RATIOS[source]
                print(
                    f"{name:30} {ahead['trials']:6} {source:>8} {ahead['expected_s']:7.1f} s "
                    f"{took:7.1f} s {ratio:6.2f}",
                    flush=True,
                )
    return int(far_off > 0)


def echobench(*arguments: Any) -> str:
    """Run a command here; return what it printed."""
    command = [sys.executable, "-m", "echobench", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as away:  # no results folder but the one that is named
        done = subprocess.run(command, cwd=away, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
