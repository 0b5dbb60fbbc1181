"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from echobench.store.folder import Store
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "writing-a-task.md").read_text()


def test_the_task_of_the_readme_is_that_of_the_guide() -> None:
    # There it is run, learnt and checked: tests/test_docs.py.
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code in GUIDE
    commands = re.findall(r"`echobench (\w+ .*?--plugin short\.py)`", README)
    assert len(commands) == 2
    for command in commands:
        assert f"echobench {command}" in GUIDE


def test_the_commands_of_the_readme_are_understood(echobench: Command) -> None:
    block = next(b for b in re.findall(r"```\n(.*?)```", README, re.DOTALL) if "--quick" in b)
    commands = [line.partition("#")[0].split()[1:] for line in block.splitlines()]
    assert len(commands) >= 8
    for command in commands:
        arguments = [word.strip("'") for word in command]
        if arguments[0] == "run":
            done = echobench(*arguments, "--dry-run")
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "division", "rows"), [("open", "open", 8), ("speed", "closed", 16)]
)
def test_the_tables_of_the_readme_are_those_of_the_committed_records(
    folder: str, division: str, rows: int, echobench: Command
) -> None:
    done = echobench("table", "--results", str(ROOT / "results" / folder), "--format", "md")
    assert done.returncode == 0
    shown = [line.split() for line in README.splitlines() if re.match(r" (whole|partial) ", line)]
    # The first run's table shows one trial of somebody's machine.
    matrix = [words for words in shown if words[3] == division and words[4] != "1/1"]
    assert len(matrix) == rows
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()
    )
    for words in matrix:
        (line,) = (line for line in lines if line[:4] == words[:4])
        assert dict(zip(header, line, strict=True))["success"] == words[4]
        figure = next(word for word in words[5:] if re.match(r"[\d>]", word))
        assert figure in " ".join(line)


def test_the_figures_in_its_sentences_are_those_of_the_committed_records() -> None:
    def median(folder: str, field: str, task: str, backend: str, engine: str) -> str:
        values = [
            value
            for record in Store.read(ROOT / "results" / folder)
            if (record.task, record.backend, record.engine) == (task, backend, engine)
            and (value := getattr(record, field)) is not None
        ]
        return f"{statistics.median(values) * (1e3 if field == 'seconds_per_update' else 1):.2g}"

    def update(backend: str, engine: str) -> str:
        return median("speed", "seconds_per_update", "partial", backend, engine)

    def target(folder: str, task: str, backend: str = "jax", engine: str = "fused") -> str:
        return median(folder, "time_to_target_s", task, backend, engine)

    def start(backend: str, engine: str) -> str:
        return median("open", "wall_to_target_s", "whole", backend, engine)

    hits = [
        record
        for record in Store.read(ROOT / "results" / "closed")
        if record.task == "partial" and record.status == "reached"
    ]
    lost = sum(not record.lasted for record in hits)
    said = " ".join(README.split())
    fused, fit = (
        [update(backend, engine) for backend in ("jax", "tensorflow", "torch")]
        for engine in ("fused", "fit")
    )
    for sentence in (
        "takes {} ms on JAX, {} ms on TensorFlow and {} ms on torch;".format(*fused),
        "driven by `model.fit`, {}, {} and {} ms.".format(*fit),
        f"takes {update('flax', 'native')} ms (`flax`) and "
        f"{update('torch-native', 'native')} ms (`torch-native`).",
        f"takes JAX {target('closed', 'partial')} s of training with the tutorial's recipe for "
        f"`partial`, and {target('open', 'partial')} s with the open one; "
        f"`whole` takes {target('closed', 'whole')} and {target('open', 'whole')} s.",
        f"loop on TensorFlow `whole` takes {target('closed', 'whole', 'tensorflow', 'fit')} s.",
        f"`torch-native` takes {start('torch-native', 'native')} s, since it compiles nothing; "
        f"JAX {start('jax', 'fused')} s.",
        f"{lost} of {len(hits)} certified trials of `partial` had an error again",
    ):
        assert sentence in said
