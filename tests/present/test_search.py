"""The table of a search's candidates."""

from __future__ import annotations

from echobench.present.table import candidate_rows
from tests.store.test_search_log import START, tried


def test_the_start_is_always_in_the_table() -> None:
    better = [tried(number, 0.1 * number, 0.1 * number, 0.1, units=9) for number in range(1, 8)]
    lines = candidate_rows([tried(0, None, None), *better], START, ("units",))
    assert [line["candidate"] for line in lines] == ["1", "2", "3", "4", "5", "0"]
    assert lines[0]["time to target"] == "0.1 s"
    assert lines[-1]["seeds"] == "missed, missed"
    assert [line["note"] for line in lines] == [""] * 5 + ["start"]
