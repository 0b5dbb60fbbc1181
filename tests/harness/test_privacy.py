"""What leaves this machine in records, logs, models, pages: no user, host, folder or secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from echobench.harness import privacy
from echobench.harness.privacy import CHECKOUT, without_places

TELLING = '''
import getpass, os, socket, sys, tempfile
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Telling(Jax):
    """Tells all it knows, and fails."""
    name: ClassVar[str] = "telling"
    reference: ClassVar[bool] = False

    def configure(self, device, threads):
        for name, value in os.environ.items():
            print(f"{name}={value}")
        print(os.getcwd(), __file__, sys.path, tempfile.gettempdir(), sys.executable)
        print(f"user {getpass.getuser()} on {socket.gethostname()}")
        print(f"gcc -I{os.getcwd()}/include file://{os.getcwd()}/x {[__file__]}")
        raise FileNotFoundError(f"{os.getcwd()}/clients.db of {os.environ['HOME']}/keys")

@hookimpl
def echobench_backends():
    return [Telling()]
'''


NAMED = """
import getpass, platform, socket
platform.node = socket.gethostname = lambda: "acme7host"
getpass.getuser = lambda: "zebulon"
"""
"""A `sitecustomize.py`: another machine's and another person's names, in all processes."""


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
        ("a\udc80", "a\\udc80"),
    ],
)
def test_a_path_keeps_what_helps_and_no_more(text: str, told: str) -> None:
    assert without_places(text) == told


def test_folders_with_a_name_and_people(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/zebulon")
    monkeypatch.setattr("getpass.getuser", lambda: "zebulon")
    monkeypatch.setattr("platform.node", lambda: "acme7.acme.example")
    privacy._people.cache_clear()
    assert without_places(f"cd {tmp_path}; {tmp_path}/a/b.py") == "cd here; here/a/b.py"
    assert without_places("/home/zebulon and /home/zebulon/acme/x.py") == "~ and …/x.py"
    said = without_places("zebulon@acme7, acme7.acme.example; zebulons")
    assert said == "<user>@<host>, <host>; zebulons"
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    privacy._people.cache_clear()
    assert without_places("root mean square") == "root mean square"
    privacy._people.cache_clear()


def test_nothing_tells_who_worked_where(tmp_path: Path) -> None:
    project, home = tmp_path / "acme-client" / "work", tmp_path / "home-of" / "zebulon"
    for folder in (project, home, tmp_path / "acme-client" / "tmp"):
        folder.mkdir(parents=True)
    (project / "telling.py").write_text(TELLING)
    (home / "sitecustomize.py").write_text(NAMED)
    environment = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(tmp_path / "acme-client" / "tmp"),
        "PYTHONPATH": str(home),
        "AWS_SECRET_ACCESS_KEY": "hunter2-aws",
        "ECHOBENCH_TOKEN": "hunter2-token",
    }

    def echobench(*arguments: str, code: int = 0) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "echobench", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr

    results = str(project / "results")
    plugin = ("--plugin", str(project / "telling.py"))
    cell = ("--task", "whole", "--division", "open")
    models = str(project / "results" / "models")
    echobench("run", "--backend", "telling", *cell, *plugin, "--results", results, code=1)
    observed = ("--observe", "tensorboard", "--save-models", models)
    echobench("run", "--backend", "jax", *cell, *observed, "--results", results)
    page = str(project / "results" / "report.html")
    for verb in (
        ("report", "-o", page),
        ("plot", "phases", "-o", f"{results}/phases.png"),
    ):
        echobench(*verb, "--results", results)
    files = [path for path in (project / "results").rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files} | {path.name[:6] for path in files}
    assert {".jsonl", ".log", ".keras", ".html", ".png", "events"} <= kinds
    (failed, _) = (json.loads(line) for path in sorted((project / "results").glob("*.jsonl"))
                   for line in path.read_text().splitlines())  # fmt: skip # one line reads better
    tail = "\n".join(failed["log_tail"])
    assert "in configure" in tail  # a traceback stays one
    assert "telling.py" in tail
    assert failed["reason"].startswith("FileNotFoundError: here/clients.db of ")
    log = (project / "results" / "logs" / f"{failed['key']}.log").read_text()
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
