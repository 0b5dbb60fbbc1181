"""`echobench audit`: records that do not come again make the exit code 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echobench.plugin.manager import Plugins
from echobench.trial.trial import trial_key
from tests.conftest import Command
from tests.records import RESULTS


def lines(plugins: Plugins) -> list[dict[str, Any]]:
    """Return a committed record of the installed task, and the same with another loss."""
    (file,) = (RESULTS / "open").glob("records-*.jsonl")
    told = next(
        r
        for r in map(json.loads, file.read_text().splitlines())
        if (r["task"], r["backend"]) == ("whole", "jax")
    )
    told["trial"]["source"] = plugins.tasks["whole"].value().source_hash()
    other = json.loads(json.dumps(told))
    other["trial"]["seed"] = other["seed"] = told["seed"] + 1
    for record in (told, other):
        record["key"] = trial_key(record["trial"])
    return [told, other]


def test_what_does_not_come_again_makes_the_exit_code_1(
    plugins: Plugins, echobench: Command, tmp_path: Path
) -> None:
    told, other = lines(plugins)
    path = tmp_path / "records-a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in (told, other)))
    done = echobench("audit", ".", "--format", "json")
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)
    assert {row["key"]: row["verdict"] for row in rows} == {
        told["key"]: "reproduced",
        other["key"]: "not reproduced",
    }
    assert "1 not reproduced, 1 reproduced" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((".", "--sample", "0"), "--sample: expected 1 or more"),
        ((".", "--key", "none"), "--key: no record of a trial that trained"),
        ((".", "--backend", "jaxx"), "did you mean 'jax'?"),
        (("nowhere",), "expected files or folders of records"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, plugins: Plugins, echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "records-a.jsonl").write_text(json.dumps(lines(plugins)[0]) + "\n")
    done = echobench("audit", *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
