"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
