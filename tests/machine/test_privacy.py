"""Records, logs, models and pages name no user, host or folder, and hold no secret."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from echobench.core.files import DataFile
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.observing import observed
from echobench.harness.plan import Selection, plan
from echobench.machine import privacy
from echobench.machine.privacy import CHECKOUT, redact
from echobench.plugin.manager import Plugins
from echobench.present.figures import panels_of
from echobench.present.figures.bars import write_phases
from echobench.present.page import write
from echobench.store.folder import Store
from echobench.trial.job import JobOptions

TELLING = '''
import getpass, os, socket, sys, tempfile
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Telling(Jax):
    """Tells all it knows."""
    name: ClassVar[str] = "telling"
    reference: ClassVar[bool] = False

    def configure(self, device, threads):
        for name, value in os.environ.items():
            print(f"{name}={value}")
        print(os.getcwd(), __file__, sys.path, tempfile.gettempdir(), sys.executable)
        print("user zebulon on", socket.gethostname())
        print(f"gcc -I{os.getcwd()}/include file://{os.getcwd()}/x {[__file__]}")
        super().configure(device, threads)

class Failing(Telling):
    name: ClassVar[str] = "failing"

    def configure(self, device, threads):
        super().configure(device, threads)
        raise FileNotFoundError(f"{os.getcwd()}/clients.db of {os.environ['HOME']}/keys")

@hookimpl
def echobench_backends():
    return [Telling(), Failing()]
'''
NAMED = "import socket\nsocket.gethostname = lambda: 'acme7host'\n"
"""A `sitecustomize.py`: another machine's name in workers too."""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('File "/srv/acme corp/plugin.py", line 3, in run', 'File "…/plugin.py", line 3, in run'),
        (
            'File "/home/x/v/lib/python3.11/site-packages/keras/src/a.py", line 3',
            'File "…/lib/python3.11/site-packages/keras/src/a.py", line 3',
        ),
        (f"{CHECKOUT}/echobench/core/fit.py", "…/echobench/core/fit.py"),
        ("PATH=/srv/acme/bin:/usr/bin", "PATH=…:/usr/bin"),
        ("--results=/srv/acme/results", "--results=…"),
        ("file:///srv/acme/x.py, //srv/acme/y.py", "file:…/x.py, …/y.py"),
        ("gcc -I/srv/acme -L/srv/acme/lib", "gcc -I… -L…"),
        ("../acme/x.py ~/acme/y.py", "…/x.py …/y.py"),
        (r"C:\Users\bob\x.py", "…/x.py"),
        ("FileNotFoundError: '/srv/acme'", "FileNotFoundError: '…'"),
        ("http://a.b/c.d epoch 3/4, and/or 1/s /s", "http://a.b/c.d epoch 3/4, and/or 1/s /s"),
        ("results/x.jsonl", "results/x.jsonl"),
        ("open ~bob/acme/x.py", "open …/x.py"),
        ('FileNotFoundError: "/srv/O\'Brien/x.py"', 'FileNotFoundError: "…/x.py"'),
        ("a\udc80", "a\\udc80"),
    ],
)
def test_a_path_keeps_what_helps_and_no_more(text: str, told: str) -> None:
    assert redact(text) == told


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ("pairs[path=/srv/Acme Inc/chat.jsonl]", "pairs[path=…/chat.jsonl]"),
        ("pairs[path=Acme-GmbH/chat.jsonl,units=3]", "pairs[path=…/chat.jsonl,units=3]"),
        ("--task=pairs[path=/srv/Acme (x), O'B=x/chat.jsonl]", "--task=pairs[path=…/chat.jsonl]"),
        ("pairs[path=~bob/Acme/chat.jsonl]", "pairs[path=…/chat.jsonl]"),
        ("pairs[path=/etc/acme/chat.jsonl]", "pairs[path=…/chat.jsonl]"),
        ("--plugin=/srv/Acme Inc (old)/plugin.py", "--plugin=…/plugin.py"),
        ("../Acme, Inc/plugin.py", "…/plugin.py"),
        ("~bob/acme/plugin.py", "…/plugin.py"),
        ("results/x.jsonl", "results/x.jsonl"),
        ("whole[length=8,symbols=10]", "whole[length=8,symbols=10]"),
    ],
)  # fmt: skip # one line a case
def test_an_argument_keeps_no_folder_whatever_it_is_called(argument: str, kept: str) -> None:
    assert privacy.redact_argument(argument) == kept


def test_a_file_of_data_is_told_by_name_and_digest(tmp_path: Path) -> None:
    file = tmp_path / "acme, inc" / "chat.jsonl"
    file.parent.mkdir()
    file.write_text('["hello", "there"]\n')
    identity = str(TypeAdapter(DataFile).validate_python(str(file)))
    assert identity.startswith("chat.jsonl@")
    kept = privacy.redact_argument(f"pairs[path={file},units=3]")
    assert kept == f"pairs[path={identity},units=3]"


@pytest.fixture
def zebulon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder where Zebulon works, on a machine of Acme's."""
    project, home = tmp_path / "acme-client" / "work", tmp_path / "home-of" / "zebulon"
    for folder in (project, home, tmp_path / "acme-client" / "tmp"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "acme-client" / "tmp"))
    monkeypatch.setattr("getpass.getuser", lambda: "zebulon")
    monkeypatch.setattr("platform.node", lambda: "acme7host.acme.example")
    monkeypatch.setattr("socket.gethostname", lambda: "acme7host")
    privacy._people.cache_clear()
    yield project
    privacy._people.cache_clear()


def test_folders_with_a_name_and_people(zebulon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert redact(f"cd {zebulon}; {zebulon}/a/b.py") == "cd here; here/a/b.py"
    home = Path.home()
    assert redact(f"{home} and {home}/acme/x.py") == "~ and …/x.py"
    said = redact("zebulon@acme7host, acme7host.acme.example; zebulons")
    assert said == "<user>@<host>, <host>; zebulons"
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    privacy._people.cache_clear()
    assert redact("root mean square") == "root mean square"


def test_nothing_tells_who_worked_where(zebulon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = zebulon / "telling.py"
    code.write_text(TELLING)
    (Path.home() / "sitecustomize.py").write_text(NAMED)
    monkeypatch.setenv("PYTHONPATH", str(Path.home()))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-aws")
    monkeypatch.setenv("ECHOBENCH_TOKEN", "hunter2-token")
    plugins = Plugins([code])
    selection = Selection(tasks=["whole"], backends=["telling", "failing"], divisions=["open"])
    results, store = zebulon / "results", Store(zebulon / "results")
    models = results / "models"
    matrix = Matrix(
        plugins,
        store,
        JobOptions(
            command=[
                "echobench",
                "run",
                "--plugin",
                str(code),
                f"--results={results}",
                "../acme/x",
            ],
            save_models=models,
        ),
        gate=False,  # the reference has a process of its own, which says no more
    )
    observers = [plugins.observers["tensorboard"].value]
    with observed(Watcher(), observers, results) as watcher:
        records = [*matrix.run(plan(selection, plugins), watcher)]
    assert {record.backend: record.status for record in records} == {
        "telling": "reached",
        "failing": "failed",
    }
    write(results, results / "report.html", plugins)
    write_phases(results / "phases.png", panels_of(records))
    files = [path for path in results.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files} | {path.name[:6] for path in files}
    assert {".jsonl", ".log", ".keras", ".json", ".html", ".png", "events"} <= kinds
    (failed,) = (record for record in records if record.status == "failed")
    assert "in configure" in "\n".join(failed.log_tail)  # a traceback stays one
    assert "telling.py" in "\n".join(failed.log_tail)
    assert "FileNotFoundError: here/clients.db of " in str(failed.reason)
    log = (store.logs / f"{failed.key}.log").read_text(encoding="utf-8")
    assert "HOME=~\n" in log
    assert "user <user> on <host>\n" in log
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                content += b"".join(map(archive.read, archive.namelist()))
        for secret in ("acme", "home-of", "zebulon", "hunter2", str(CHECKOUT)):
            at = content.find(secret.encode())
            assert at < 0, (path.name, content[max(0, at - 60) : at + 60])
            assert secret not in path.name
