"""A trial on a file of one's own: the file travels, its folder stays, and what is sure is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from echobench.core import files
from echobench.errors import UsageError
from echobench.harness.audit import audit
from echobench.harness.plan import Selection, plan
from echobench.harness.remote import run_packed_job, unpack_records
from echobench.plugin.manager import Plugins
from echobench.store.referee import Finding, validate
from echobench.trial.job import Job
from echobench.trial.record import Record
from echobench.trial.trial import trial_key
from tests.records import by_new_rule, real
from tests.soak.harness import PLUGIN

LINES = '''

from echobench import FileTask, encoder_decoder

class Lines(FileTask):
    """Echo the lines of a file."""

    name: ClassVar[str] = "lines"
    has_missing: ClassVar[bool] = False  # all have one length
    nap: float = 0.0
    busy: float = 0.0
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=1, batch=1, epochs=1, evaluate_every=1)
    }

    def network(self, form, units):
        return encoder_decoder(form, self.n_in, self.n_out, units)
'''
TEXT = "\n".join(f"w{k} x" for k in range(60))
Told = dict[str, Any]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    """Return the plugins with a task on a file, of a backend that knows the answers."""
    file = tmp_path_factory.mktemp("own") / "lines.py"
    text = PLUGIN.read_text().replace("return [Tiny]", "return [Tiny, Lines]")
    file.write_text(text.replace("\nclass Tiny", f"{LINES}\n\nclass Tiny", 1))
    return Plugins([file])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("where-ann-keeps-it")
    (folder / "words.txt").write_text(TEXT)
    return folder


def planned(folder: Path, own: Plugins, **fields: Any) -> Job:
    asked = Selection(
        tasks=[f"lines[path={folder}/words.txt]"], backends=["knowing"], threads=1, **fields
    )
    (trial,) = plan(asked, own)
    (plugin,) = set(trial.plugins)
    return Job(trials=[trial], sources={plugin: own.sources(plugin).files})


@pytest.fixture(scope="module")
def record(folder: Path, own: Plugins) -> Record:
    """Return the record of a trial on a machine that has no such file."""
    job = planned(folder, own)
    text = job.model_dump_json()
    (folder / "words.txt").rename(folder / "gone.txt")
    known, files._known = files._known, {}
    try:
        packed = run_packed_job(text, lambda progress: None, {"name": "test"})
    finally:
        files._known = known
        (folder / "gone.txt").rename(folder / "words.txt")
    (found,) = unpack_records(job, packed)
    return found


def test_the_file_goes_with_its_trial_and_its_folder_stays(record: Record, folder: Path) -> None:
    assert (record.status, record.reason) == ("reached", None)
    assert record.trial.parameters == {"path": "words.txt@8969a5ad4d65"}
    assert "ann-keeps" not in record.to_json()


def test_the_record_says_that_the_whole_test_set_was_answered(record: Record) -> None:
    count = record.certified_sequences
    assert count is not None
    assert 2 < count < 30  # a fifth of 60
    assert (record.trial.test_set, record.trial.screen) == ("held out", count)
    assert (record.error_bound, record.trial.bound) == (None, 0.0)
    assert [(one.sequences, one.wrong) for one in record.certifications] == [(count, 0)]
    assert record.cell.certificate == f"all {count} test sequences"
    alone = msgspec.structs.replace(record.cell, screen=1)
    assert alone.certificate == "the only test sequence"


def test_the_trial_is_the_same_wherever_its_file_lies(
    folder: Path, own: Plugins, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text(TEXT)
    assert planned(tmp_path, own).trial.key == planned(folder, own).trial.key
    (tmp_path / "words.txt").write_text(TEXT + "\ny x")
    assert planned(tmp_path, own).trial.key != planned(folder, own).trial.key


def test_a_bound_is_refused_where_nothing_is_drawn(folder: Path, own: Plugins) -> None:
    with pytest.raises(UsageError, match="--bound: expected none for task 'lines'"):
        planned(folder, own, bound=0.01)


def test_a_test_set_that_is_trained_on_and_says_it_is_not_is_refused_when_planned(
    folder: Path, own: Plugins, tmp_path: Path
) -> None:
    (file,) = _files(own)
    text = file.read_text()
    rows = "    @property\n    def test_rows(self): return self.sample(stream(0, 'train'), 1)\n"
    text = text.replace("    nap: float = 0.0\n    busy", f"{rows}    nap: float = 0.0\n    busy")
    lying = tmp_path / "lying.py"
    head = "from __future__ import annotations\n"
    lying.write_text(text.replace(head, f"{head}from echobench.core.sequences import stream\n", 1))
    selection = Selection(tasks=[f"lines[path={folder / 'words.txt'}]"], backends=["knowing"])
    with pytest.raises(UsageError, match=r"lying.py, line \d+: 1 of the 1 rows of the test set"):
        plan(selection, Plugins([lying]))


def test_a_run_of_all_tasks_leaves_out_what_needs_a_file(
    own: Plugins, capfd: pytest.CaptureFixture[str]
) -> None:
    trials = plan(Selection(backends=["knowing"], threads=1), own)
    assert {"tiny", "whole"} <= {trial.task for trial in trials}
    assert not {"pairs", "lines"} & {trial.task for trial in trials}
    said = capfd.readouterr().err
    assert "left out: task lines needs path; write --task 'lines[path=...]' --plugin " in said


def findings(told: Told, own: Plugins, tmp_path: Path) -> list[Finding]:
    path = tmp_path / "records-x.jsonl"
    path.write_text(json.dumps(told) + "\n")
    return validate([path], own)[0]


def test_the_referee_takes_it_with_the_file_and_without(
    record: Record,
    own: Plugins,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = record.to_dict()
    unchecked = [one for one in findings(told, own, tmp_path) if one.about == "task"]
    assert unchecked == []
    monkeypatch.setattr(files, "_known", {})
    monkeypatch.chdir(tmp_path)
    (warned,) = [one for one in findings(told, Plugins([*_files(own)]), tmp_path) if _of_task(one)]
    assert warned.severity == "warning"
    assert "words.txt: No such file or directory" in warned.message
    (audited,) = audit([record], own, tmp_path, lambda line: None)
    assert audited.verdict == "not audited"
    assert "words.txt: No such file or directory" in audited.about


def _files(plugins: Plugins) -> list[Path]:
    return [Path(plugins.tasks["lines"].plugin.partition(":")[2])]


def _of_task(one: Finding) -> bool:
    return one.about == "task"


def with_trial(told: Told, **changes: Any) -> None:
    told["trial"].update(changes)
    told["key"] = trial_key(told["trial"])


def with_parameters(told: Told, **changes: Any) -> None:
    with_trial(told, parameters={**told["trial"]["parameters"], **changes})


def fewer(told: Told) -> None:
    with_trial(told, screen=2)
    told["certified_sequences"] = told["certifications"][0]["sequences"] = 2


def refused(told: Told) -> None:
    """Have an attempt before the certificate, as trials have that draw their sequences."""
    told["evaluations"].insert(0, {**told["evaluations"][0], "epoch": 0})
    (hit,) = told["certifications"]
    told.update(certifications=[{**hit, "epoch": 0, "wrong": 1}, hit], failed_certifications=1)


def wrong_answer(told: Told) -> None:
    echo = told["samples"][0]
    echo["predicted"][0] = "w0" if echo["expected"][0] != "w0" else "w1"


FORGED: dict[str, tuple[Callable[[Told], None], str, str]] = {
    "fewer sequences": (fewer, "test_set", "expected the task's "),
    "a part of them": (
        lambda told: told.update(certified_sequences=2), "certified_sequences", "received 2"
    ),
    "a bound": (lambda told: told.update(error_bound=0.003), "error_bound", "expected none"),
    "a bound that was asked for": (
        lambda told: with_trial(told, bound=0.003), "test_set", "no bound"
    ),
    "another kind of test": (
        lambda told: with_trial(told, test_set="trained on"), "test_set", "held out; received"
    ),
    "an unknown kind of test": (
        lambda told: with_trial(told, test_set="fresh"), "trial", "test_set"
    ),
    "no test set": (
        lambda told: with_trial(told, test_set="", bound=0.003, screen=50), "test_set", "held out"
    ),
    "a second attempt": (
        lambda told: told["certifications"].append(told["certifications"][0]),
        "certifications",
        "one after each evaluation",
    ),
    "a refusal": (refused, "certifications", "expected none refused"),
    "an interval": (
        lambda told: told.update(judge=judged(told, interval=[0.0, 0.1])), "judge", "no interval"
    ),
    "a judge of fewer": (
        lambda told: told.update(judge=judged(told, sequences=1)), "judge", "the test set's"
    ),
    "other errors than the certificate's": (
        lambda told: told.update(judge=judged(told, wrong=3)), "judge", "3 errors, and 0"
    ),
    "ties taken for rounding": (
        lambda told: told.update(judge=judged(told, wrong=2, certificate_rounding=2)),
        "judge",
        "verdict",
    ),
    "a path in the place of the file": (
        lambda told: with_parameters(told, path="/etc/passwd"), "trial", "a record names no path"
    ),
    "a path that looks like an identity": (
        lambda told: with_parameters(told, path="../words.txt@000000000000"),
        "trial",
        "a record names no path",
    ),
    "another file's label": (
        lambda told: with_trial(told, label="lines[path=gold.txt@000000000000]"),
        "label",
        "expected lines[path=words.txt@",
    ),
    "a wrong answer": (wrong_answer, "samples", "an answer is wrong"),
    "an older record": (lambda told: told.update(schema_version=6), "test_set", "of schema 6"),
}  # fmt: skip # a line each


def judged(told: Told, **changes: Any) -> Told:
    found = {"by": "plain Keras on jax", "certificate_wrong": 0, "certificate_rounding": 0,
             "sequences": told["certified_sequences"], "wrong": 0}  # fmt: skip
    return {**found, **changes}


def test_a_judgement_of_the_whole_test_set_is_taken(
    record: Record, own: Plugins, tmp_path: Path
) -> None:
    told = {**record.to_dict(), "judge": judged(record.to_dict())}
    assert [one for one in findings(told, own, tmp_path) if one.about == "judge"] == []


@pytest.mark.parametrize("name", FORGED)
def test_what_was_not_so_is_found(name: str, record: Record, own: Plugins, tmp_path: Path) -> None:
    forge, about, message = FORGED[name]
    told = json.loads(record.to_json())
    forge(told)
    found = [one for one in findings(told, own, tmp_path) if one.severity == "error"]
    assert any(one.about == about and message in one.message for one in found), found


def test_a_task_that_makes_rows_up_has_no_exact_certificate(
    plugins: Plugins, tmp_path: Path
) -> None:
    told = by_new_rule(real(plugins))
    told["certifications"] = [{**told["certifications"][-1], "sequences": 50}]
    clean = told["certifications"][0]["epoch"]
    for point in told["evaluations"]:
        if point["epoch"] != clean and point["exact_match"] == 1:
            point["exact_match"], point["accuracy"] = 0.98, 0.999
    told.update(certified_sequences=50, error_bound=None, failed_certifications=0)
    told["judge"] = judged(told)
    for source in (told["trial"]["source"], "another"):  # whatever version it says it had
        with_trial(told, test_set="held out", bound=0.0, screen=50, source=source)
        found = [one for one in findings(told, plugins, tmp_path) if one.severity == "error"]
        assert [(one.about, one.message) for one in found] == [
            ("test_set", "expected a bound: the task has no test set")
        ]
