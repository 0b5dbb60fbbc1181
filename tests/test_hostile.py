"""Records that say what attackers would, in everything that shows or writes records."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from msgspec.structs import replace

from echobench import cli, interrupts
from echobench.analysis.costs import History
from echobench.analysis.leaderboard import board
from echobench.harness.estimate import Estimator
from echobench.harness.forecast import Forecast
from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import by_process
from echobench.plugin.manager import Plugins
from echobench.present import progress, site, table
from echobench.present.benchmarks import document
from echobench.present.page import write
from echobench.store.folder import Store
from echobench.text import plain
from echobench.trial.job import Progress
from echobench.trial.record import Record
from echobench.trial.trial import trial_key
from tests.browser import browser, opened
from tests.hostile import KINDS, SPOKEN, STEERING, predicted, spoken
from tests.records import real, run_again

Call = Callable[..., tuple[int, str]]
SHORT = [text for text in SPOKEN if len(text) <= 300]
OBEYED = ("\x1b]", "\x1bP", "\x1bc", "\x9b", "\x9d", "\x08", "\u202e", "\u2066", "\x07")
"""What rich itself never writes to a terminal."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a record of each string."""
    folder = tmp_path_factory.mktemp("records")
    lines = [spoken(text, seed).to_json() for seed, text in enumerate(SPOKEN)]
    (folder / "records-x.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def echobench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process; return its exit code and all that it printed."""

    def run(*arguments: str, columns: int = 80) -> tuple[int, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["echobench", *arguments])
        # This process goes on, and what other tests start would inherit it.
        monkeypatch.setattr(interrupts, "ignore", lambda: None)
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_table_on_a_terminal(columns: int, folder: Path, echobench: Call) -> None:
    code, shown = echobench("table", "--results", str(folder), columns=columns)
    assert code == 0
    assert not STEERING.search(shown)
    for text in ("<script>alert(1)</script>", "[bold]loud[/bold]", r"\x1b[31mred", ":smile:"):
        assert text in re.sub(r"\s*\n\s*", "", shown) or columns < 80


def test_the_referee_and_what_verbs_say_of_records(folder: Path, echobench: Call) -> None:
    code, shown = echobench("validate", str(folder))
    assert code == 1
    assert not STEERING.search(shown)
    assert f"{len(SPOKEN)} records" in shown  # a text's own U+2028 ends no record
    for verb in (("export",), ("compare", "seed=1", "seed=2"), ("table", "--task", "\x1b[31m")):
        code, shown = echobench(*verb, "--results", str(folder))
        assert code == 2
        assert not STEERING.search(shown)


def test_json_and_parquet_hold_the_very_texts(
    folder: Path, echobench: Call, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    code, shown = echobench("table", "--format", "json", "--results", str(folder))
    assert code == 0
    assert shown.isascii()
    assert sorted(row["reason"] for row in json.loads(shown)) == sorted(SPOKEN)
    file = tmp_path / "table.parquet"
    echobench("table", "--format", "parquet", "-o", str(file), "--results", str(folder))
    table = parquet.read_table(file)
    for name in ("task", "backend", "reason"):
        assert sorted(table[name].to_pylist()) == sorted(SPOKEN)
    assert str(tmp_path) not in str(table.schema.metadata)


def test_csv_has_no_formula_and_numbers_stay_numbers(folder: Path, echobench: Call) -> None:
    code, shown = echobench("table", "--format", "csv", "--results", str(folder))
    assert code == 0
    assert not STEERING.search(shown)
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert len(rows) == len(shown.splitlines()) - 1 == len(SPOKEN)
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert {float(row["seconds_per_update"]) for row in rows} == {0.001}
    assert "'=HYPERLINK(" in shown
    below = table.render_predictions([replace(predicted("=1"), import_s=-1.5)], "csv")
    (row, _) = csv.DictReader(io.StringIO(below))
    assert (row["backend"], float(row["import_s"])) == ("'=1", -1.5)


@pytest.mark.parametrize("of", ["table", "predictions"])
def test_markdown_keeps_its_rows_and_nothing_in_it_lives(
    of: str, folder: Path, echobench: Call
) -> None:
    if of == "table":
        _, shown = echobench("table", "--format", "md", "--results", str(folder))
        count = len(set(SPOKEN))
    else:
        shown = table.render_predictions([*map(predicted, SHORT)], "md")
        count = 2 * len(SHORT)  # two numbers of samples
    assert not STEERING.search(shown)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(shown)
    kinds = [token.type for token in tokens]
    assert kinds.count("tr_open") == count + 1
    assert kinds.count("td_open") == count * kinds.count("th_open")
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner == {"text"}
    assert "html_block" not in kinds


@pytest.mark.parametrize("kind", ["phases", "updates"])
def test_a_figure_is_text_and_shapes(kind: str, tmp_path: Path, echobench: Call) -> None:
    pytest.importorskip("matplotlib")
    store = Store(tmp_path / "records")
    chosen = ("</text><script>1</script>", "$\\frac{1}{2}$", "$", "\x1b[31m\u202e", "x" * 5_000)
    for seed, text in enumerate(chosen):
        store.append(spoken(text, seed, task="t", other_s=0.5))
    file = tmp_path / "figure.svg"
    code, shown = echobench("plot", kind, "-o", str(file), "--results", str(store.folder))
    assert code == 0, shown
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not names & {"script", "a", "foreignObject", "image", "iframe"}
    assert not [key for one in root.iter() for key in one.attrib if key.startswith("on")]
    whole = " ".join(root.itertext())
    assert "$\\frac{1}{2}$" in whole
    assert STEERING.sub("", whole) == whole.replace("\t", "")
    assert str(tmp_path) not in file.read_text(encoding="utf-8")


def test_a_file_of_pytest_benchmark_is_plain() -> None:
    texts = [*SHORT, ""]
    about, notes = document([spoken(text, 0) for text in texts], "seconds_per_update")
    for text in (*_texts(about), *notes):
        assert text == plain(text)
    for one in about["benchmarks"]:
        assert re.fullmatch(r"[\w.=-]+(\[[\w.=,-]+\])?", one["name"])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    if isinstance(value, str):
        yield value


@pytest.mark.parametrize("curves", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_shown_while_trials_run(
    curves: bool,
    terminal: bool,
    plugins: Plugins,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    (trial, *_) = plan(Selection(tasks=["whole"], backends=["jax"]), plugins)
    texts = [
        trial.model_copy(update={"label": text, "seed": seed}) for seed, text in enumerate(SHORT)
    ]
    forecast = Forecast(Estimator(History(), None), by_process(texts))
    with progress.watcher(forecast, curves=curves) as watcher:
        for seed, (text, said) in enumerate(zip(SHORT, texts, strict=True)):
            watcher.started(seed, [said])
            watcher.progressed(said, Progress.model_construct(phase=text))
            watcher.finished(said, spoken(text, seed))
    shown = capsys.readouterr().err
    assert "[bold]loud[/bold]" in shown
    assert not [escape for escape in OBEYED if escape in shown]
    assert terminal or curves or not STEERING.search(shown)


def let_in(plugins: Plugins, text: str, seed: int = 0, slower: float = 1.0) -> Record:
    """Return a record that the referee lets in, and that says a text where it may."""
    told = run_again(real(plugins), plugins, seed, slower)
    names = {"backend": text, "engine": text, "division": text or "open", "device": text}
    trial = {**told["trial"], **names, "versions": {text: text}, "source": text}
    machine = {**told["provenance"]["machine"], "cpu": text}
    provenance = {**told["provenance"], "machine": machine}
    changes = {"trial": trial, "key": trial_key(trial), "task": text, "provenance": provenance}
    return Record.from_dict({**told, **names, **changes})


ELEMENTS = "[...document.querySelectorAll('*')].map((one) => one.localName)"
HANDLERS = """[...document.querySelectorAll('*')].flatMap((one) => [...one.attributes])
  .filter((one) => one.name.startsWith('on')
    || (['href', 'src', 'action'].includes(one.name)
      && !/^(#|[a-z-]+[.](html|css|json)$|records[/])/.test(one.value)))
  .map((one) => one.name + '=' + one.value)"""
"""Attributes that run something, or lead anywhere but into the page or the site."""
ON_PAGES = [
    text
    for kind in (
        "HTML and script",
        "breaking out of attributes",
        "CSS",
        "templates and JavaScript",
        "lines",
        "Unicode",
    )
    for text in KINDS[kind]
]


def test_page_and_site_in_a_browser_hold_no_element_and_no_handler_of_a_stranger(
    tmp_path: Path, plugins: Plugins
) -> None:
    pages: dict[str, list[Path]] = {}
    for name, texts in {"hostile": ON_PAGES, "harmless": [f"t{n}" for n in range(9)]}.items():
        store = Store(tmp_path / name / "records")
        for seed, text in enumerate(texts):
            store.append(spoken(text, seed))
        write(store.folder, tmp_path / name / "report.html", plugins)
        for number, text in enumerate(texts, start=1):
            store.append(let_in(plugins, text, slower=number))
        made = board(sorted(store.folder.glob("*.jsonl")), plugins)
        assert (made.records, len({one.where for one in made.refused})) == (
            2 * len(texts),
            len(texts),
        )
        site.write(made, tmp_path / name / "site")
        files = {path.name for path in (tmp_path / name / "site").rglob("*") if path.is_file()}
        digests = {file for file in files if re.fullmatch(r"[0-9a-f]{16}\.jsonl", file)}
        assert files - digests == {"index.html", "refused.html", "style.css", "leaderboard.json"}
        pages[name] = [
            tmp_path / name / file
            for file in ("report.html", "site/index.html", "site/refused.html")
        ]
    assert {path.name for path in tmp_path.iterdir()} == set(pages)
    with browser() as chromium:
        for hostile, harmless in zip(pages["hostile"], pages["harmless"], strict=True):
            found = []
            for file in (hostile, harmless):
                report = file.name == "report.html"
                with opened(
                    chromium,
                    file,
                    ready="html[data-ready=true]" if report else "main",
                    beside=() if report else (file.parent / "style.css",),
                ) as page:
                    found.append(set(page.evaluate(ELEMENTS)))
                    assert page.evaluate(HANDLERS) == []
                    assert not STEERING.search(
                        page.evaluate("document.body.innerText").replace("\t", "")
                    )
            assert found[0] == found[1]


def test_no_plugin_is_loaded_because_a_record_names_it(
    tmp_path: Path, plugins: Plugins, echobench: Call
) -> None:
    code, proof = tmp_path / "evil.py", tmp_path / "executed"
    code.write_text(f"open({str(proof)!r}, 'w')\n")
    store = Store(tmp_path / "records")
    for seed in range(2):
        one = let_in(plugins, "numpy", seed, slower=1.0 + seed)
        trial = replace(one.trial, plugins=[f"file:{code}", "evil"])
        store.append(replace(one, trial=trial, key=trial.key))
    records, output = ("--results", str(store.folder)), str(tmp_path / "out")
    for verb in (
        ("table", *records),
        ("validate", str(store.folder)),
        ("report", *records, "-o", f"{output}.html"),
        ("leaderboard", str(store.folder), "--output", output),
        ("compare", "seed=0", "seed=1", *records),
        ("export", *records),
        ("study", "state", "--table", *records),
        ("run", "--task", "whole", "--backend", "jax", "--dry-run", *records),
    ):
        assert echobench(*verb)[0] == 0, verb
    assert not proof.exists()
