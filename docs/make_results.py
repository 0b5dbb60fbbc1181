"""Write into README.md and results/ what the committed records say: tables, comparisons, findings.

`make findings` runs this; tests/test_results.py checks that the pages are up to date. A page shows
a command in backticks, and below it, as a block or a table, what the command prints.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from echobench.store.folder import Store

Prints = Callable[..., str]
"""Returns what a command prints, on a terminal of a width."""
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
WIDTH = "90"
"""Columns of a terminal, where a command says nothing else."""
SHOWN = re.compile(r"((?:```\n(?:.*\n)*?```\n)|(?:^\|.*\n)+)", re.MULTILINE)
"""What a command prints: a block, or a table in Markdown."""
COMMAND = re.compile(r"`(?:COLUMNS=(\d+)\s+)?(echobench\s+(?:table|compare|study)\s[^`]*)`[^`]*$")
"""The last command before it."""
FINDINGS = re.compile(r"(?<=\n## What it found\n\n)(.*?)(?=!\[)", re.DOTALL)
TEMPLATE = """Medians of records of version {version}, made on {machine}.

- **The engine matters more than the backend.** With whole epochs compiled (`fused`), an update of \
`partial`
  (closed) takes {fused[0]} ms on JAX, {fused[1]} ms on TensorFlow and {fused[2]} ms on torch; \
driven by `model.fit`,
  {fit[0]}, {fit[1]} and {fit[2]} ms. Written without Keras it takes {peers[0]} ms (`flax`) and \
{peers[1]} ms (`torch-native`).
- **The recipe matters as much.** Certified 100% takes JAX {tutorial[0]} s of training with \
the tutorial's
  recipe for `partial`, and {ours[0]} s with the open one; `whole` takes {tutorial[1]} and \
{ours[1]} s. Under the
  tutorial's own loop on TensorFlow `whole` takes {slow} s.
- **Start-up dominates short jobs.** From process start to certified, `whole` takes \
`torch-native` {start} s, JAX {other} s.
- **100% may not last.** {lost} of {hits} certified trials of `partial` had an error again \
(tutorial's recipe).
- **One-hot vectors are far easier than numbers.** Integers scaled to 0..1 take \
{times[0]} times (`whole`)
  and {times[1]} times (`partial`) as many updates (one seed each; records of version \
{earlier}, {elsewhere}).

"""
"""The findings of the README."""
PRINTER = """
import json, os, runpy, sys
import scipy.stats
import echobench.analysis.comparison, echobench.analysis.footnotes, echobench.analysis.table
import echobench.cli, echobench.plugin.manager, echobench.present.table

for line in sys.stdin:
    (name, *arguments), width, output = json.loads(line)
    if not (child := os.fork()):
        os.environ["COLUMNS"] = width
        os.dup2(os.open(output, os.O_WRONLY), 1)
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs commands, and says their exit codes: to import all takes longer than most of them."""
PARTLY = re.compile(r"(prints, among more:\n\n```\n).*?(```\n)", re.DOTALL)


@contextlib.contextmanager
def printing() -> Iterator[Prints]:
    """Give what returns what an echobench command prints on a terminal, in the checkout."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as printer:

        def printed(command: str, width: str = WIDTH) -> str:
            assert printer.stdin is not None
            assert printer.stdout is not None
            with tempfile.NamedTemporaryFile("r") as output:
                asked = (shlex.split(command), width, output.name)
                print(json.dumps(asked), file=printer.stdin, flush=True)
                code = printer.stdout.readline().strip()
                if code != "0":
                    raise RuntimeError(f"{command} ends with exit code {code or 'none'}")
                return "\n".join(line.rstrip() for line in output).strip("\n") + "\n"

        yield printed


def page(text: str, prints: Prints) -> str:
    """Return a page with what its commands print now."""
    parts = SHOWN.split(text)
    for number in range(1, len(parts), 2):
        before = COMMAND.search(parts[number - 1])
        if before is not None:
            command = " ".join(before[2].split())
            shown = prints(command, before[1] or WIDTH)
            parts[number] = f"```\n{shown}```\n" if parts[number].startswith("`") else shown
    return "".join(parts)


def among_more(table: str) -> str:
    """Return the rows of a table of the results' page, and the sentences at its end."""
    rows, *_, sentences = table.split("\n\n")
    return f"{rows}\n...\n{sentences}"


def findings(prints: Prints) -> str:
    """Return the findings of the README, with the figures of the records.

    Raises:
        ValueError: the records no longer say what a finding claims; it is to be written anew.
    """
    folders = {name: [*Store.read(RESULTS / name)] for name in ("open", "closed", "speed")}

    def median(folder: str, field: str, **wanted: str) -> float:
        values = [
            float(value)
            for record in folders[folder]
            if all(getattr(record, name) == value for name, value in wanted.items())
            and (value := getattr(record, field)) is not None
        ]
        return statistics.median(values)

    def update_ms(backend: str, engine: str) -> float:
        asked = {"task": "partial", "backend": backend, "engine": engine}
        return 1e3 * median("speed", "seconds_per_update", **asked)

    def target_s(folder: str, task: str, backend: str = "jax", engine: str = "fused") -> float:
        return median(folder, "time_to_target_s", task=task, backend=backend, engine=engine)

    def start_s(backend: str, engine: str) -> float:
        asked = {"task": "whole", "backend": backend, "engine": engine}
        return median("open", "wall_to_target_s", **asked)

    every = [*itertools.chain(*folders.values())]
    keras = ("jax", "tensorflow", "torch")
    fused, fit = ([update_ms(name, engine) for name in keras] for engine in ("fused", "fit"))
    peers = [update_ms(name, "native") for name in ("flax", "torch-native")]
    tutorial, ours = (
        [target_s(f, task) for task in ("partial", "whole")] for f in ("closed", "open")
    )
    start, other = start_s("torch-native", "native"), start_s("jax", "fused")
    hits = [r for r in folders["closed"] if r.task == "partial" and r.status == "reached"]
    lost = sum(not record.lasted for record in hits)
    times = _times_of_numbers(prints)
    studied = [*Store.read(RESULTS / "studies" / "representation")]
    _check("an engine matters more than a backend", min(fit) / max(fused) > max(fused) / min(fused))
    _check("the open recipe is sooner", all(a > b for a, b in zip(tutorial, ours, strict=True)))
    _check("torch-native starts before JAX", start < other)
    _check("some trials of partial lose their 100%", lost > 0)
    _check("numbers take longer than vectors", min(times) > 1)
    return TEMPLATE.format(
        machine=_only({record.machine_class for record in every}, "machine"),
        version=_only({record.schema_version for record in every}, "version"),
        fused=[*map(_s, fused)],
        fit=[*map(_s, fit)],
        peers=[*map(_s, peers)],
        tutorial=[*map(_s, tutorial)],
        ours=[*map(_s, ours)],
        slow=_s(target_s("closed", "whole", "tensorflow", "fit")),
        start=_s(start),
        other=_s(other),
        lost=lost,
        hits=len(hits),
        times=times,
        earlier=_only({record.schema_version for record in studied}, "version"),
        elsewhere=_only({record.machine_class for record in studied}, "machine"),
    )


def _s(figure: float) -> str:
    return f"{figure:.2g}"


def _check(claim: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"the records do not say any more that {claim}: write the finding anew")


def _only(values: set[Any], what: str) -> str:
    if len(values) != 1:
        raise ValueError(f"expected records of one {what}; received {sorted(values)}")
    return str(values.pop())


def _times_of_numbers(prints: Prints) -> list[int]:
    """Return how many times as many updates numbers take as one-hot vectors, by task."""
    command = "echobench study representation --table --format json --results "
    rows: list[dict[str, Any]] = json.loads(prints(f"{command}results/studies/representation"))
    updates = {
        row["variant"]: int(row["updates to target"].replace(",", ""))
        for row in rows
        if row["updates to target"]
    }
    return [
        round(updates[f"{task}, linear, tuned"] / updates[f"{task}, one-hot, tuned"])
        for task in ("whole", "partial")
    ]


def readme(text: str, results: str, prints: Prints) -> str:
    """Return the README with the findings and a part of the first block of results/README.md."""
    block = next(shown for shown in SHOWN.findall(results) if shown.startswith("`"))
    table = block.removeprefix("```\n").removesuffix("```\n")
    text = FINDINGS.sub(lambda _: findings(prints), text)
    return PARTLY.sub(lambda found: f"{found[1]}{among_more(table)}{found[2]}", text)


def pages() -> dict[Path, str]:
    """Return the text that each page ought to have."""
    front = ROOT / "README.md"
    with printing() as prints:
        found = {
            path: page(path.read_text(), prints) for path in sorted(RESULTS.rglob("README.md"))
        }
        text = readme(front.read_text(), found[RESULTS / "README.md"], prints)
    return {**found, front: text}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
