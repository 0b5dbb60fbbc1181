"""What the README, docs/usage.md and results/README.md show works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from pathlib import Path

import pytest

from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
USAGE = (ROOT / "docs" / "usage.md").read_text()
RESULTS = (ROOT / "results" / "README.md").read_text()
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


def test_the_commands_of_the_page_of_usage_are_understood(echobench: Command) -> None:
    commands = commands_of(USAGE, "--quick")
    assert len(commands) >= 25
    for arguments in commands:
        if arguments[0] == "run":
            done = echobench(*arguments, "--dry-run")
            assert done.returncode == 0, done.stderr


def test_the_page_of_tasks_names_all_that_are_installed(plugins: Plugins) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w-]+)`", rows)) == {*plugins.tasks}
    assert set(re.findall(r"^echobench study (\S+)", page, re.MULTILINE)) == {*plugins.studies}


@pytest.mark.parametrize(("folder", "columns"), [("open", 80), ("speed", 90)])
def test_the_tables_of_the_results_are_those_of_the_committed_records(
    folder: str, columns: int, echobench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command = f"COLUMNS={columns} echobench table --results results/{folder}"
    (shown,) = re.findall(rf"`{command}`:\n\n```\n(.*?)```", RESULTS, re.DOTALL)
    done = echobench("table", "--results", str(ROOT / "results" / folder))
    assert done.returncode == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "\n".join(lines).strip("\n") == shown.strip("\n")


def test_the_table_of_the_readme_is_that_of_the_committed_records() -> None:
    printed = re.findall(r"```\n(.*?)```", RESULTS, re.DOTALL)[0].splitlines()
    command = "`echobench table --results results/open` prints, among more:"
    _, _, rest = README.partition(command)
    shown = rest.partition("```\n")[2].partition("```")[0].splitlines()
    left_out = shown.index("...")
    assert left_out == 10  # a header, a line and eight cells
    assert shown[:left_out] == printed[:left_out]
    assert shown[left_out + 1 :] == printed[left_out - len(shown) + 1 :]


def test_the_words_are_explained_before_they_are_used() -> None:
    before, _, words = README.partition("## Words")
    section = words.partition("\n## ")[0].strip().splitlines()
    assert len(section) == 6
    for word in ("Task", "Backend", "Engine", "Division", "Cell", "Trial", "Certified"):
        assert f"**{word}**: " in "\n".join(section)
        if word not in {"Task", "Backend"}:  # plain English there
            assert not re.search(rf"\b{word.lower()}s?\b", before)
    assert "*The tutorial*" in before


def test_the_figures_in_its_sentences_are_those_of_the_committed_records(
    echobench: Command,
) -> None:
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
    study = echobench(
        *("study", "representation", "--table", "--format", "json"),
        *("--results", str(ROOT / "results" / "studies" / "representation")),
    )
    updates = {
        row["variant"]: int(row["updates to target"].replace(",", ""))
        for row in json.loads(study.stdout)
        if row["updates to target"]
    }
    whole, partial = (
        round(updates[f"{task}, linear, tuned"] / updates[f"{task}, one-hot, tuned"])
        for task in ("whole", "partial")
    )
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
        f"take {whole} times (`whole`) and {partial} times (`partial`) as many updates",
    ):
        assert sentence in said


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/**/*.md")]
    assert len(pages) > 20
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]*)", page.read_text()):
            if link and "://" not in link and not link.startswith("mailto:"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
