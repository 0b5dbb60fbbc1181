"""Make the shipped medians from the committed records: `make medians`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from echobench.analysis import costs
from echobench.store.folder import Store
from echobench.store.reading import record_files
from echobench.trial.record import Record

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def committed() -> Iterator[Record]:
    """Yield the committed records of training, but for those of searches, whose recipes vary."""
    for file in sorted(record_files(RESULTS, deep=True)):
        if "tune" not in file.relative_to(RESULTS).parts:
            yield from Store.read(file)


def written() -> str:
    """Return the medians as the file has them: a line for each place."""
    known: dict[str, Any] = msgspec.to_builtins(costs.medians(committed()))
    parts = [f'"machines": {_lines(known["machines"], "{}", 1)}']
    for name in ("costs", "asides"):
        machines = {machine: _Raw(_lines(rows, "[]", 2)) for machine, rows in known[name].items()}
        parts.append(f'"{name}": {_lines(machines, "{}", 1)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


class _Raw(str):
    """JSON already."""


def _lines(values: Any, brackets: str, depth: int) -> str:
    """Return a list or an object as JSON, each of its values on a line."""
    pairs = values.items() if isinstance(values, dict) else ((None, value) for value in values)
    margin = " " * depth
    lines = [
        margin + ("" if name is None else f"{_json(name)}: ") + _json(value)
        for name, value in pairs
    ]
    return f"{brackets[0]}\n" + ",\n".join(lines) + f"\n{margin[1:]}{brackets[1]}"


def _json(value: Any) -> str:
    return value if isinstance(value, _Raw) else msgspec.json.encode(value).decode()


if __name__ == "__main__":
    path = ROOT / "echobench" / "analysis" / costs.SHIPPED
    path.write_text(written())
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
