"""`echobench table`, as it is run: filters, order, files, and lines for what cannot be."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from echobench.analysis import frame
from echobench.analysis.flat import FLAT_FIELDS
from tests.conftest import Command
from tests.records import RESULTS

OPEN = ("table", "--results", str(RESULTS / "open"))


def test_parquet_is_the_csv_with_types(echobench: Command, tmp_path: Path) -> None:
    asked = ("--task", "whole", "--seed", "4", "--seed", "2", "--sort", "-wall_s")
    text = echobench(*OPEN, *asked, "--format", "csv").stdout
    done = echobench(*OPEN, *asked, "--format", "parquet", "-o", "new/table.parquet")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found = pd.read_parquet(tmp_path / "new" / "table.parquet")
    expected = pd.read_csv(io.StringIO(text))
    assert tuple(found) == FLAT_FIELDS
    assert set(found.seed) == {2, 4}
    assert set(found.task) == {"whole"}
    assert found.wall_s.is_monotonic_decreasing
    assert pd.api.types.is_integer_dtype(found.updates_to_target)
    assert pd.api.types.is_string_dtype(found.backend)
    assert found.reason.isna().all()
    there = found.columns[found.notna().any()]
    assert expected.columns[expected.notna().any()].equals(there)
    pd.testing.assert_frame_equal(found[there], expected[there], check_dtype=False)


def test_the_table_marks_the_best_and_closes_with_a_sentence(echobench: Command) -> None:
    done = echobench(*OPEN, "--task", "whole", "--output", "table.txt")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    shown = echobench(*OPEN, "--task", "whole").stdout
    flat = frame.load(RESULTS / "open")
    jax = flat[(flat.task == "whole") & (flat.backend == "jax")].time_to_target_s
    assert f"* {jax.astype(float).median():.3g} s" in shown
    assert "* best of those with the same task, division, by time to target" in shown
    last = " ".join(shown.partition("\n\n")[2].split())
    found = r"jax fused reached certified 100% on whole \(open\) [\d.]+x sooner than tensorflow"
    assert re.search(found, last)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--backend", "jaxx"), "--backend: no record of 'jaxx'; did you mean 'jax'?"),
        (("--output", "/dev/null/x"), "--output /dev/null/x: expected a file that can be written"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: tuple[str, ...], expected: str, echobench: Command
) -> None:
    done = echobench(*OPEN, *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert expected in done.stderr
