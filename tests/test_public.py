"""What importing echobench gives, and what it must not bring along."""

from __future__ import annotations

import inspect
import pydoc
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import echobench
from echobench.plugin import hookspecs

FRAMEWORKS = {"keras", "jax", "openvino", "tensorflow", "torch"}


def imported_by(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the top-level modules it imported."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_public_names() -> None:
    assert echobench.__all__ == [
        "DEVICE_GRANTS",
        "MISSING",
        "Backend",
        "Coding",
        "Connection",
        "DataFile",
        "EchoTask",
        "EchobenchError",
        "Executor",
        "ExecutorError",
        "FileTask",
        "Floats",
        "Form",
        "Framing",
        "InferenceBackend",
        "Integers",
        "Job",
        "JobLostError",
        "LSTMLayer",
        "Learner",
        "Linear",
        "NativeBackend",
        "NativeProgram",
        "Network",
        "Observer",
        "OneHot",
        "OutputLayer",
        "Predictor",
        "Program",
        "Progress",
        "Recipe",
        "Record",
        "ReplicatedTrainer",
        "Request",
        "Site",
        "StorageError",
        "Stream",
        "Study",
        "Task",
        "Trainer",
        "Trial",
        "UnavailableError",
        "UnsupportedError",
        "UsageError",
        "Variant",
        "attention_encoder_decoder",
        "encoder_decoder",
        "file_name",
        "hookimpl",
        "many_to_one",
        "one_to_one",
        "plain",
        "run",
        "run_packed_job",
        "say",
        "sequence_to_sequence",
        "to_supervised",
        "uniform_sequences",
        "unpack_records",
    ]


def test_every_public_name_exists_and_only_programs_need_a_framework() -> None:
    get = "import echobench\n_ = [getattr(echobench, name) for name in echobench.__all__ if {}]"
    light = get.format("name not in ('Learner', 'Program')")
    assert not imported_by(light) & FRAMEWORKS
    worker = "import os\nos.environ['KERAS_BACKEND'] = 'numpy'\n" + get.format("True")
    assert imported_by(worker) & FRAMEWORKS == {"keras", "jax"}  # Keras' NumPy imports JAX


def test_help_imports_nothing_slow() -> None:
    code = "from echobench.cli import app\nfrom typer.testing import CliRunner\n"
    code += "assert 'Usage' in CliRunner().invoke(app, ['--help']).output"
    assert not imported_by(code) & (FRAMEWORKS | {"pandas", "scipy", "pydantic", "numpy"})


def test_the_parent_imports_no_framework() -> None:
    code = "\n".join(
        f"import {module}"
        for module in (
            "echobench.present.progress",
            "echobench.harness.matrix",
            "echobench.harness.predicting",
            "echobench.harness.tuning",
            "echobench.worker.job",
            "echobench.worker.parity",
            "echobench.present.table",
            "echobench.analysis.table",
        )
    )
    code += "\nfrom echobench.plugin.manager import Plugins"
    code += "\nfrom echobench.harness.plan import Selection, plan"
    code += "\nassert plan(Selection(), Plugins())"
    assert not imported_by(code) & FRAMEWORKS


def test_what_a_single_trial_says_is_told_without_scipy() -> None:
    code = (
        "from echobench.analysis.statistics import censored_median, ratio\n"
        "assert censored_median([2.0], []).value == 2.0\n"
        "assert ratio([3.0], [3.0]).n == 2\n"
    )
    assert "scipy" not in imported_by(code)


@pytest.mark.parametrize(
    "name",
    ["Backend", "EchoTask", "Executor", "Observer", "Recipe", "Study", "Task", "Variant"],
)
def test_help_shows_our_own_members_and_no_library_s(name: str) -> None:
    public = getattr(echobench, name)
    text = pydoc.plain(pydoc.render_doc(public))
    assert len(text.splitlines()) < 140
    head, _, members = text.partition("Method resolution order:")
    assert inspect.cleandoc(public.__doc__) in inspect.cleandoc(head.replace("\n |  ", "\n"))
    assert "model_dump" not in members
    assert "__pydantic" not in members
    assert "inherited from pydantic" not in members


def test_the_reference_describes_every_public_name_and_is_up_to_date() -> None:
    docs = Path(__file__).parent.parent / "docs"
    page = (docs / "reference.md").read_text()
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    hooks = [name for name in vars(hookspecs) if name.startswith("echobench_")]
    assert sorted(headings) == sorted([*echobench.__all__, *hooks])
    assert page == runpy.run_path(str(docs / "make_reference.py"))["page"](), "run: make docs"
