"""What docs/writing-a-task.md shows, and docs/tasks.md of pairs, works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parent.parent / "docs" / "writing-a-task.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TASKS = GUIDE.with_name("tasks.md")
ALLOWED = ("echobench", "pytest", "pip")
DATA = {"csv": "stops.csv", "jsonl": "chat.jsonl"}
"""Files of data that the pages show, by the language of their block."""


def blocks(language: str, page: Path = GUIDE) -> list[str]:
    return [text for found, text in FENCED.findall(page.read_text()) if found == language]


def commands() -> list[list[str]]:
    return [shlex.split(line) for text in blocks("") for line in text.splitlines()]


def commands_on_pairs() -> list[list[str]]:
    return [shlex.split(line) for text in blocks("sh", TASKS) for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every Python file of the guide; its first line is its name."""
    folder = tmp_path_factory.mktemp("guide")
    for text in blocks("python"):
        (name,) = re.findall(r"^# (\w+\.py)$", text.partition("\n")[0])
        (folder / name).write_text(text)
    for language, name in DATA.items():
        (text,) = blocks(language) + blocks(language, TASKS)
        (folder / name).write_text(text)
    return folder


def test_the_guide_shows_what_it_should() -> None:
    assert len(blocks("python")) >= 4
    assert {words[0] for words in commands()} == set(ALLOWED)
    assert all(
        language in {"python", "", *DATA} for language, _ in FENCED.findall(GUIDE.read_text())
    )


def test_the_pairs_that_are_shown_are_those_of_the_file() -> None:
    assert blocks("jsonl", TASKS) == [TASKS.with_name("chat.jsonl").read_text()]
    assert [words[1] for words in commands_on_pairs()] == ["run", "echo", "table"]


def test_a_task_on_a_file_takes_few_lines() -> None:
    (text,) = (text for text in blocks("python") if "FileTask" in text)
    defined = text[text.index("class ") : text.index("@hookimpl")]
    assert len([line for line in defined.splitlines() if line]) < 15


@pytest.mark.parametrize(
    "words",
    [words for words in commands() + commands_on_pairs() if words[0] != "pip"],
    ids=" ".join,
)
def test_a_command_of_the_guide(words: list[str], folder: Path) -> None:
    module = [] if words[0] == "echobench" else ["-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", words[0], *module, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if words[1] == "run" and not {"--quick", "--dry-run"} & set(words):
        assert "certified 100%" in done.stderr
