"""Workers that go wrong, many of them in one process, and what is left of each: `make faults`.

Faults are drawn at random from those of the tests. It fails where one becomes another record
than it should, where a process or a folder stays, or where the process that runs them grows.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from echobench.harness import process
from tests.harness.faulty import run
from tests.harness.test_faults import FAULTS, HANGING
from tests.harness.test_guard import BOMB, DAEMON
from tests.soak.held import held

LIMIT_S = 5.0
"""Of those that hang."""
WARM = 5
"""Faults after which imports and caches have settled."""
SLACK = 16_000_000
"""Bytes that memory may waver."""
LEAVING = {
    "daemon": DAEMON.format(told="daemon", environment="os.environ") + "os._exit(7)",
    "hidden daemon": DAEMON.format(told="daemon", environment="{}") + "os._exit(7)",
    "respawning children": BOMB.format(told="home") + "os._exit(7)",
}
HOME = "os.chdir(os.environ['TMPDIR'])\n"


class Fault(NamedTuple):
    """What a worker does, and what its record is to say."""

    name: str
    code: str
    status: str
    reason: str


def main() -> None:
    """Run it; exit code 1 where something was wrong, lost or left."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--faults", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    process.GRACE_S = 1.0
    rng = random.Random(asked.seed)
    kinds = [*_kinds()]
    tried, seconds = Counter[str](), defaultdict[str, float](float)
    wrong: list[str] = []
    ours = psutil.Process()
    before = held(ours)
    for number in range(asked.faults):
        fault = rng.choice(kinds)
        began = time.monotonic()
        wrong += [f"{fault.name}: {told}" for told in _faults_of(fault)]
        tried[fault.name] += 1
        seconds[fault.name] += time.monotonic() - began
        if number == WARM:
            before = held(ours)
    after = held(ours)
    for name, count in tried.most_common():
        print(f"{count:5} {seconds[name] / count:6.2f} s  {name}")
    print(f"{sum(tried.values())} faults of {len(tried)} kinds; {len(wrong)} wrong")
    print(f"before: {before}\nafter:  {after}")
    if after.rss > before.rss + SLACK or after[1:] != before[1:]:
        wrong.append("the process that ran them grew")
    sys.exit("; ".join(wrong) or 0)


def _kinds() -> Iterator[Fault]:
    for code, reason in FAULTS:
        yield Fault(" ".join(code.split())[:60], code, "failed", reason)
    for name, code in HANGING.items():
        yield Fault(f"hanging: {name}", code, "timeout", "killed: still running 1 s past")
    for name, code in LEAVING.items():
        yield Fault(name, HOME + code, "failed", "the worker ended with exit code 7")


def _faults_of(fault: Fault) -> Iterator[str]:
    """Run one; yield what is wrong with its record, or left of it."""
    limit = LIMIT_S if fault.status == "timeout" else 60.0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        (folder / "homes").mkdir()
        tempfile.tempdir = str(folder / "homes")
        try:
            record = run(folder, fault.code, timeout_s=limit)
        finally:
            tempfile.tempdir = None
        if (record.status, (record.reason or "")[: len(fault.reason)]) != fault[2:]:
            yield f"{record.status}, {record.reason}"
        if "about to go wrong" not in (folder / "log").read_text(errors="replace"):
            yield "its log is lost"
        if left := [*(folder / "homes").iterdir()]:
            yield f"{len(left)} folders left"
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("TMPDIR", "").startswith(str(folder)):
                    yield f"{one.pid} left"


if __name__ == "__main__":
    main()
