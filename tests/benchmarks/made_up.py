"""Records by the million for `make bench-scale`: the committed ones, varied."""

from __future__ import annotations

import itertools
import json
import random
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from echobench.store.folder import Store
from echobench.trial.trial import trial_key

RESULTS = Path(__file__).parents[2] / "results"
REAL = [RESULTS / "matrix", RESULTS / "tasks", RESULTS / "repeats"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(folder: Path, count: int, files: int = 20) -> int:
    """Write `count` records to as many files, as if each were a run; return their size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    real = [r.to_dict() for path in REAL for r in Store.read(path)]
    # One of each cell, so that its seeds can be counted up.
    cells = [r for r in real if r["seed"] == 0 and not r["trial"].get("repeat")]
    bounds = [count * number // files for number in range(files + 1)]
    with ProcessPoolExecutor() as pool:
        sizes = pool.map(
            _write,
            [folder / f"records-{number:04}.jsonl" for number in range(files)],
            itertools.repeat(cells),
            itertools.pairwise(bounds),
        )
        return sum(sizes)


def _write(path: Path, cells: list[dict[str, Any]], span: tuple[int, int]) -> int:
    with path.open("w", encoding="utf-8") as file:
        for number in range(*span):
            seed, place = divmod(number, len(cells))
            file.write(json.dumps(_varied(cells[place], seed, number), separators=(",", ":")))
            file.write("\n")
    return path.stat().st_size


def _varied(record: dict[str, Any], seed: int, number: int) -> dict[str, Any]:
    """Return a record with another seed, other times and another start."""
    slower = random.Random(number).uniform(0.8, 1.25)
    trial = {**record["trial"], "seed": seed}
    started = START + timedelta(seconds=number)
    return {
        **{name: _times(name, value, slower) for name, value in record.items()},
        "seed": seed,
        "trial": trial,
        "key": trial_key(trial),
        "started_at": started.isoformat(timespec="milliseconds"),
    }


def _times(name: str, value: Any, slower: float) -> Any:
    if name.endswith("_s") and isinstance(value, float):
        return value / slower if "_per_s" in name else value * slower
    if value is not None and name == "seconds_per_update":
        return value * slower
    if value is not None and name == "seconds_per_update_quartiles":
        return [one * slower for one in value]
    if value is not None and name == "limit_fraction":
        return value / slower
    if name in {"evaluations", "after_hit"}:
        return [{**point, "train_s": point["train_s"] * slower} for point in value]
    return value
