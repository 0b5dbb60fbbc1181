"""A search's log: objectives computed by hand, and damaged lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench import Recipe
from echobench.store.folder import Store
from echobench.store.search_log import Candidate, SearchLog, SeedResult, best, objective, ranked

START = Recipe(units=8, batch=1, epochs=2, evaluate_every=1)


def tried(number: int, *times: float | None, of: int = 3, units: int = 8) -> Candidate:
    median = objective(times)
    ended = "complete" if len(times) == of else "stopped"
    return Candidate.model_validate(
        {
            "number": number,
            "recipe": START.model_copy(update={"units": units}),
            "objective": median,
            "status": "missed" if median is None else ended,
            "seeds": [
                SeedResult(
                    seed=seed,
                    status="missed" if time is None else "reached",
                    time_to_target_s=time,
                    wall_to_target_s=None if time is None else 5 + time,
                    accuracy=0.5 if time is None else 1.0,
                )
                for seed, time in enumerate(times)
            ],
            "started_at": "2026-01-01T00:00:00.000+00:00",
            "conditions": {"task": "short"},
        }
    )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([2.0], 2.0),
        ([None], None),
        ([1.0, 3.0, 2.0], 2.0),
        ([1.0, None, 2.0], 2.0),  # a miss is longer than any hit
        ([None, 9.0, 1.0], 9.0),
        ([None, 1.0, None], None),
        ([1.0, 2.0], 1.5),
        ([1.0, None], None),  # half of it is no time
        ([1.0, None, 3.0, None], None),
        ([1.0, 2.0, 4.0, None], 3.0),
    ],
)
def test_the_objective_with_censored_trials(
    times: list[float | None], expected: float | None
) -> None:
    assert objective(times) == expected


def test_only_what_ran_all_seeds_can_be_the_best() -> None:
    slow, censored = tried(0, 3.0, 3.0, 3.0), tried(1, 1.0, None, 2.0)
    early, missed = tried(2, 0.5), tried(3, None, None)
    everyone = [slow, censored, early, missed]
    assert best(everyone) == censored
    assert ranked(everyone) == [censored, slow]
    assert best([early, missed]) is None


def test_a_line_that_was_cut_off_costs_itself_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = {"task": "short"}
    log = SearchLog(tmp_path, conditions)
    for number in range(2):
        log.append(tried(number, 1.0, 2.0, 3.0))
    log.path.write_text(log.path.read_text()[:-40])
    log = SearchLog(tmp_path, conditions)
    assert [one.number for one in log.candidates] == [0]
    assert "search.jsonl:2: not a record (cut off" in capsys.readouterr().err
    log.append(tried(1, 1.0, None, None))
    found = SearchLog(tmp_path, conditions).candidates
    assert found == [tried(0, 1.0, 2.0, 3.0), tried(1, 1.0, None, None)]
    other = SearchLog(tmp_path, {"task": "long"})
    assert (other.candidates, other.others) == ([], 2)
    assert Store(tmp_path).load() == []  # a search's log holds no records
