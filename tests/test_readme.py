"""What the README, docs/usage.md and results/README.md show works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from echobench.plugin.manager import Plugins
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
USAGE = (ROOT / "docs" / "usage.md").read_text()
GUIDE = (ROOT / "docs" / "writing-a-task.md").read_text()


def test_the_task_of_the_readme_is_that_of_the_guide() -> None:
    # There it is run, learnt and checked: tests/test_docs.py.
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code in GUIDE
    commands = re.findall(r"`echobench (\w+ .*?--plugin short\.py)`", README)
    assert len(commands) == 2
    for command in commands:
        assert f"echobench {command}" in GUIDE


def test_the_readme_is_short_and_keeps_the_order_of_a_reader_s_questions() -> None:
    assert len(README.splitlines()) <= 140
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Words",
        "Run it",
        "Add a task",
        "What it found",
        "Where everything else is",
    ]


def commands_of(page: str, marker: str) -> list[list[str]]:
    """Return the arguments of each echobench command in the block that holds the marker."""
    block = next(b for b in re.findall(r"```\n(.*?)```", page, re.DOTALL) if marker in b)
    lines = [line for line in block.splitlines() if line.startswith("echobench ")]
    return [shlex.split(line.partition("#")[0])[1:] for line in lines]


def test_the_commands_of_the_readme_run(echobench: Command, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    commands = commands_of(README, "source .venv/bin/activate")
    assert len(commands) == 4
    for arguments in commands:
        rest = ["--dry-run"] if arguments[0] == "run" else []
        if arguments == ["table"]:  # of the records that the commands above it make
            rest = ["--results", "results/open"]
        done = echobench(*arguments, *rest)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_commands_of_the_page_of_usage_are_understood(forked: Command) -> None:
    commands = commands_of(USAGE, "--quick")
    assert len(commands) >= 25
    for arguments in commands:
        if arguments[0] == "run":
            done = forked(*arguments, "--dry-run")
            assert done.returncode == 0, done.stderr


def test_the_page_of_tasks_names_all_that_are_installed(plugins: Plugins) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w-]+)`", rows)) == {*plugins.tasks}
    assert set(re.findall(r"^echobench study (\S+)", page, re.MULTILINE)) == {*plugins.studies}


def test_the_words_are_explained_before_they_are_used() -> None:
    before, _, words = README.partition("## Words")
    section = words.partition("\n## ")[0].strip().splitlines()
    assert len(section) == 6
    for word in ("Task", "Backend", "Engine", "Division", "Cell", "Trial", "Certified"):
        assert f"**{word}**: " in "\n".join(section)
        if word not in {"Task", "Backend"}:  # plain English there
            assert not re.search(rf"\b{word.lower()}s?\b", before)
    assert "*The tutorial*" in before


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/**/*.md")]
    assert len(pages) > 20
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]*)", page.read_text()):
            if link and "://" not in link and not link.startswith("mailto:"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
