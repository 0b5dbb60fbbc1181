"""The leaderboard's files: pages without scripts, and the records that they rest on."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib import resources
from pathlib import Path
from typing import Any

from echobench.analysis.leaderboard import Board, Standing
from echobench.errors import StorageError, UsageError
from echobench.present import page
from echobench.present.table import seconds_text

INDEX = "leaderboard.json"
"""Also says that a folder holds a leaderboard, and may be written again."""
RECORDS = "records"


def write(board: Board, folder: Path) -> None:
    """Write the site; what an earlier one left in the folder is replaced.

    Raises:
        UsageError: the folder holds something else than a leaderboard.
        StorageError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or _is_foreign(folder)):
        raise UsageError(
            f"--output {folder}: expected a new or empty folder, or one with a leaderboard; "
            "it holds something else"
        )
    environment = page.templates(__name__)
    environment.filters.update(seconds=seconds_text, milliseconds=_milliseconds)
    context = _context(board)
    files = {
        f"{RECORDS}/{one.row.digest}.jsonl": "".join(
            board.lines[id(record)] + "\n" for record in one.row.records
        )
        for standings in board.fields.values()
        for one in standings
    }
    pages = {
        name: environment.get_template(name).render(context)
        for name in ("index.html", "refused.html")
    }
    styles = (page.PACKAGE / "base.css", resources.files(__name__) / "style.css")
    style = "".join(sheet.read_text("utf-8") for sheet in styles)
    index = json.dumps(_index(board), indent=2) + "\n"
    try:
        (folder / RECORDS).mkdir(parents=True, exist_ok=True)
        for old in (folder / RECORDS).glob("*.jsonl"):
            old.unlink()
        for name, text in {INDEX: index, **files, **pages, "style.css": style}.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise StorageError(f"--output {folder}: {error.strerror}") from error


def _is_foreign(folder: Path) -> bool:
    return any(folder.iterdir()) and not (folder / INDEX).is_file()


def _context(board: Board) -> dict[str, Any]:
    """Return what the pages show: by division, then machine, then what is compared."""
    divisions: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for number, (shared, standings) in enumerate(board.fields.items()):
        plural = "" if shared.threads == 1 else "s"
        sources = {f.source for f in board.fields if f._replace(source=shared.source) == shared}
        divisions[shared.division][shared.machine].append(
            {
                "id": f"field-{number}",
                "task": shared.task,
                "setting": f"{shared.device}, {shared.threads} thread{plural}"
                + (" on hyperthreads" if shared.smt else "")
                + (f", {shared.side_by_side} jobs side by side" * (shared.side_by_side > 1))
                + (f", {shared.environment}" if shared.environment else ""),
                "source": shared.source if len(sources) > 1 else "",
                "certificate": shared.certificate,
                "standings": standings,
            }
        )
    counted = [one for standings in board.fields.values() for one in standings]
    dates = [record.started_at for one in counted for record in one.row.records]
    return {
        "divisions": divisions,
        "refused": board.refused,
        "refused_records": len({finding.where for finding in board.refused}),
        "records": board.records,
        "counted": len(dates),
        "latest": max(dates, default="")[:10],
        "left_out": board.left_out,
    }


def _index(board: Board) -> dict[str, Any]:
    return {
        "fields": [
            {**shared._asdict(), "rows": [*map(_line, standings)]}
            for shared, standings in board.fields.items()
        ],
        "refused": [vars(finding) for finding in board.refused],
        "left_out": dict(board.left_out),
    }


def _line(standing: Standing) -> dict[str, Any]:
    row, against = standing.row, standing.against
    return {
        "rank": standing.rank,
        "backend": row.backend,
        "engine": row.engine,
        "versions": row.versions,
        "reached": row.reached,
        "trials": len(row.records),
        "declared": row.missing.declared if row.missing else len(row.records),
        "notes": row.notes,
        "time_to_target_s": row.target._asdict(),
        "seconds_per_update": row.update_s,
        "against_lowest": None if against is None else against.ratio._asdict(),
        "verdict": standing.words,
        "records": f"{RECORDS}/{row.digest}.jsonl",
    }


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:.3g}"
