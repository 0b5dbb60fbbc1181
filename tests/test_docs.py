"""What the guides, docs/writing-*.md, and docs/tasks.md of pairs show works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from echobench.plugin.scaffold import KINDS, rendered

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = sorted(DOCS.glob("writing-*.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TASKS = DOCS / "tasks.md"
ALLOWED = ("echobench", "pytest", "pip")
LONG = "plain"
"""A backend whose trials run longer than XLA takes to optimize their program."""
DATA = {"csv": "stops.csv", "jsonl": "chat.jsonl"}
"""Files of data that the pages show, by the language of their block."""


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCED.findall(page.read_text()) if found == language]


def commands(page: Path, language: str = "") -> list[list[str]]:
    return [shlex.split(line) for text in blocks(page, language) for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every Python file of the guides; its first line is its name."""
    folder = tmp_path_factory.mktemp("guides")
    for text in (text for page in GUIDES for text in blocks(page, "python")):
        (name,) = re.findall(r"^# (\w+\.py)$", text.partition("\n")[0])
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    for language, name in DATA.items():
        (text,) = (text for page in (*GUIDES, TASKS) for text in blocks(page, language))
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_shows_what_it_should(page: Path) -> None:
    assert blocks(page, "python")
    assert {"echobench"} <= {words[0] for words in commands(page)} <= set(ALLOWED)
    languages = {language for language, _ in FENCED.findall(page.read_text())}
    assert languages <= {"python", "", *DATA}


def test_the_pairs_that_are_shown_are_those_of_the_file() -> None:
    assert blocks(TASKS, "jsonl") == [TASKS.with_name("chat.jsonl").read_text()]
    assert [words[1] for words in commands(TASKS, "sh")] == ["run", "echo", "table"]


def test_a_task_on_a_file_takes_few_lines() -> None:
    (text,) = (text for text in blocks(DOCS / "writing-a-task.md", "python") if "FileTask" in text)
    defined = text[text.index("class ") : text.index("@hookimpl")]
    assert len([line for line in defined.splitlines() if line]) < 15


@pytest.mark.parametrize(
    ("page", "kind", "name"),
    [
        ("writing-a-backend.md", "peer", "plain"),
        ("writing-a-task.md", "observer", "lines"),
        ("executors.md", "executor", "here"),
    ],
)
def test_what_a_page_shows_is_what_echobench_new_writes(page: str, kind: str, name: str) -> None:
    # tests/plugin/test_scaffold.py installs that and runs it.
    shown = [text.removeprefix(f"# {name}.py\n") for text in blocks(DOCS / page, "python")]
    assert rendered(KINDS[kind], name)[f"src/echobench_{name}/{kind}.py"] in shown


@pytest.mark.parametrize(
    "words",
    [words for page in GUIDES for words in commands(page) if words[0] != "pip"]
    + commands(TASKS, "sh"),
    ids=" ".join,
)
def test_a_command_of_a_guide(
    words: list[str], folder: Path, request: pytest.FixtureRequest
) -> None:
    if LONG in words:
        request.getfixturevalue("optimizing")
    module = [] if words[0] == "echobench" else ["-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", words[0], *module, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if words[1] == "run" and not {"--quick", "--dry-run"} & set(words):
        assert "certified 100%" in done.stderr
