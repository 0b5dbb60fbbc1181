"""Make the references that plugins ship: `python -m echobench.testing.references [TASK...]`.

Each task's are written into `references.json` beside its plugin's module: the first losses of both
divisions, those of squeezed recipes, and the fingerprints of the first seeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from echobench.errors import EchobenchError, UsageError
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References
from echobench.harness.shipped import Shipped, is_ours, path_of, read_shipped, shipped_key
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store, replace_file
from echobench.store.locks import FolderLocks
from echobench.text import say
from echobench.trial.trial import DIVISIONS, Trial

SEEDS = 10
"""Seeds whose fingerprints are shipped."""
LIMIT_S = 3600.0
"""Seconds that each of a task's references may take."""


def computed(
    tasks: Sequence[str], plugins: Plugins, seeds: int = SEEDS
) -> Iterator[tuple[Path, dict[str, Shipped]]]:
    """Compute the references of tasks; yield those of each, by key, with the file they belong into.

    A cell of which the reference gives no losses is missing, and stderr says why.

    Args:
        tasks: as `--task` takes them; none for all that can run.
        plugins: where they are.
        seeds: how many seeds' fingerprints.

    Raises:
        UsageError: no reference backend can run, or there is no such task.
    """
    reference = next((name for name, one in plugins.backends.items() if one.value.reference), None)
    if reference is None:
        raise UsageError("references: no reference backend is installed; pip install jax")
    selection = Selection(
        tasks=[*tasks], backends=[reference], divisions=[*DIVISIONS], seeds=seeds, timeout_s=LIMIT_S
    )
    planned: dict[str, dict[str, Trial]] = defaultdict(dict)
    trials = plan(selection, plugins)
    for trial in trials:
        planned[trial.task].setdefault(f"{trial.label} {trial.division}", trial)
    with tempfile.TemporaryDirectory(prefix="echobench-references-") as folder:
        references = References(plugins, Store(Path(folder)), shipped=False)
        references.plan(trials)
        with FolderLocks(Path(folder)) as locks:
            for task, cells in planned.items():
                found: dict[str, Shipped] = {}
                for trial in cells.values():
                    computing = functools.partial(say, f"computing those of {task} ...")
                    references.get(trial, locks, computing)
                    kept = references.kept(trial)
                    if kept is not None:
                        found[shipped_key(kept[0])] = Shipped.of(*kept)
                path = path_of(plugins.tasks[task])
                if path is not None:
                    yield path, found


def write(path: Path, made: dict[str, Shipped]) -> None:
    """Write references into a file, in place of all that it has of the same cells.

    Raises:
        UsageError: the file holds something else.
    """
    if not is_ours(path):
        raise UsageError(
            f"{path}: expected references that this command made, and nothing else; received a "
            "file of another kind, which it does not replace: move it"
        )
    cells = {one.cell for one in made.values()}
    others = {key: one for key, one in read_shipped(path).items() if one.cell not in cells}
    ordered = sorted({**others, **made}.items(), key=lambda item: item[1].cell)
    # A line for each: a change shows what it changes.
    lines = [f"{json.dumps(key)}: {one.model_dump_json()}" for key, one in ordered]
    replace_file(path, "{\n" + ",\n".join(lines) + "\n}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute and write the references of the tasks that are named; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m echobench.testing.references", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="as --task takes it; all")
    parser.add_argument("--plugin", action="append", type=Path, default=[], metavar="FILE.py")
    given = parser.parse_args(arguments)
    failed = False
    try:
        for path, made in computed(given.tasks, Plugins(given.plugin)):
            failed |= not made
            write(path, made)
            say(f"{', '.join(one.cell for one in made.values()) or 'nothing'}: in {path}")
    except EchobenchError as error:
        say(f"references: {error}")
        return 2
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
