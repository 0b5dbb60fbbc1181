"""Peers: other code, the same experiment; what they are not written for is a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from echobench_plugins.backends._frameworks import looks_up

from echobench.core.outline import NativeProgram
from echobench.errors import UnsupportedError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.conftest import Command
from tests.plugins.cells import ECHO

ATTENTION = "attention[n_in=4,length=8,symbols=10,units=6,sequences=3]"


PEERS = ("flax", "equinox", "jax-plain")


def test_a_peer_reaches_the_target_saves_its_network_and_says_what_it_cannot(
    echobench: Command, tmp_path: Path
) -> None:
    backends = [argument for peer in PEERS for argument in ("--backend", peer)]
    done = echobench(
        "run", *backends, "--task", "whole", "--task", ATTENTION,
        "--division", "open", "--save-models", "models", "--max-epochs", "150",
    )  # fmt: skip # as it is typed
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "results").glob("*.jsonl")
    records: dict[tuple[str, str], Any] = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        records[record["backend"], record["task"].partition("[")[0]] = record
    assert len(records) == 2 * len(PEERS)
    for peer in PEERS:
        whole, attention = records[peer, "whole"], records[peer, "attention"]
        assert (whole["status"], whole["engine"]) == ("reached", "native")
        assert whole["parity"]["passed"] is True
        assert whole["judge"]["wrong"] is not None
        assert whole["provenance"]["path"]["lstm"] == ["5 steps unrolled"]
        assert "keras" not in whole["trial"]["versions"]
        assert whole["provenance"]["path"]["traces"]["training"] == 0
        assert attention["status"] == "unsupported"
        assert "written for a chain of LSTMs" in attention["reason"]
    predicted = echobench("predict", *map(str, (tmp_path / "models").glob("*.keras")),
                          "--backend", "jax", "--batch", "1", "--format", "json")  # fmt: skip
    assert predicted.returncode == 0, predicted.stderr
    rows = json.loads(predicted.stdout)
    assert [row["accuracy"] for row in rows] == [1.0] * len(PEERS)


def test_an_engine_that_a_backend_has_not_is_a_usage_error(echobench: Command) -> None:
    done = echobench("run", "--backend", "flax", "--engine", "fit", "--task", "whole")
    assert done.returncode == 2
    assert done.stderr == "echobench: backend 'flax' has no engine 'fit'; it has native\n"


@pytest.mark.parametrize(
    ("selector", "lookup"), [("whole", True), ("one-to-one", True), ("regression", False)]
)
def test_one_hot_tokens_are_looked_up_and_numbers_are_not(
    selector: str, lookup: bool, plugins: Plugins
) -> None:
    _, task, recipe = resolve(selector, "closed", plugins)
    assert looks_up(NativeProgram(task, recipe)) is lookup


def test_a_backend_that_has_no_other_engine_says_so(plugins: Plugins) -> None:
    _, task, recipe = resolve("whole", "closed", plugins)
    flax = plugins.backends["flax"].value
    with pytest.raises(UnsupportedError, match="flax has no engine 'compiled'"):
        flax.other_trainer("compiled", NativeProgram(task, recipe), 1)


def test_an_engine_beside_the_usual_one_is_run_where_it_is_asked_for(
    echobench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a C++ compiler the engine says what it lacks, and so shows that it was asked.
    monkeypatch.setenv("PATH", "")
    arguments = ("run", "--backend", "torch-native", "--task", ECHO, "--max-epochs", "5")
    done = echobench(*arguments, "--engine", "compiled")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "results").glob("*.jsonl")
    record = json.loads(file.read_text())
    assert (record["status"], record["engine"]) == ("unsupported", "compiled")
    assert record["reason"] == "torch.compile takes a C++ compiler or a GPU"
