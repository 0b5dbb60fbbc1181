"""The candidates of a search, as `tune` prints them."""

from __future__ import annotations

from collections.abc import Sequence

from echobench.core.task import Recipe
from echobench.store.search_log import Candidate, SeedResult, ranked

MAX_ROWS = 5
"""Best candidates in the table; the starting recipe is always added."""


def candidate_rows(
    candidates: Sequence[Candidate], start: Recipe, fields: Sequence[str]
) -> list[dict[str, str]]:
    """Return a table of the best candidates and the starting one, with fields of their recipes."""
    chosen = ranked(candidates)[:MAX_ROWS]
    chosen += [one for one in candidates if one.recipe == start and one not in chosen]
    return [
        {
            "candidate": str(one.number),
            "time to target": seconds_text(one.objective),
            "seeds": _seed_times(one.seeds),
            **{name.replace("_", " "): f"{getattr(one.recipe, name):g}" for name in fields},
            "note": "start" if one.recipe == start else "",
        }
        for one in chosen
    ]


def candidate_sentence(candidate: Candidate) -> str:
    """Describe a candidate: how it ended, and its seeds' seconds to the target."""
    times = _seed_times(candidate.seeds)
    if candidate.status == "complete":
        return f"{seconds_text(candidate.objective)} ({times})"
    why = f", {candidate.reason}" if candidate.status in {"stopped", "failed"} else ""
    return f"{candidate.status}{why} ({times})"


def seconds_text(seconds: float | None) -> str:
    """Format a time; empty for None."""
    return "" if seconds is None else f"{seconds:.3g} s"


def _seed_times(results: Sequence[SeedResult]) -> str:
    return ", ".join(
        result.status if result.time_to_target_s is None else f"{result.time_to_target_s:.3g}"
        for result in results
    )
