"""Which GPUs a process sees, from what the driver's own tool prints and what it was granted."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.machine import facts
from echobench.machine.gpus import granted, names, read_listing

TWO = """GPU 0: Tesla T4 (UUID: GPU-aaaa1111-0000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa2222-0000)
"""
ALIKE = """GPU 0: Tesla T4 (UUID: GPU-aaaa1111-0000)
GPU 1: Tesla T4 (UUID: GPU-aaaa2222-0000)
"""
DIVIDED = """GPU 0: NVIDIA A100 (UUID: GPU-5c89852c)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8)
GPU 1: NVIDIA A100 (UUID: GPU-11111111)
"""
T4, A100 = "Tesla T4", "NVIDIA A100-SXM4-40GB"
BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_all_are_named_and_a_divided_one_by_its_instances() -> None:
    assert names(read_listing(TWO)) == (T4, A100)
    assert names(read_listing(DIVIDED)) == (
        "NVIDIA A100 MIG 1g.5gb", "NVIDIA A100 MIG 3g.20gb", "NVIDIA A100"
    )  # fmt: skip # one line reads better
    old = "GPU 0: A100 (UUID: GPU-1)\n  MIG 2g.10gb Device 0: (UUID: MIG-GPU-1/3/0)\n"
    assert names(read_listing(old)) == ("A100 MIG 2g.10gb",)
    assert names(read_listing("No devices were found\n")) == ()


@pytest.mark.parametrize(
    ("listing", "environment", "visible"),
    [
        (TWO, {}, (T4, A100)),
        (TWO, {"CUDA_VISIBLE_DEVICES": ""}, ()),
        (TWO, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        (TWO, {**BY_BUS, "CUDA_VISIBLE_DEVICES": "1"}, (A100,)),
        (TWO, {**BY_BUS, "CUDA_VISIBLE_DEVICES": "1, 0"}, (A100, T4)),
        (TWO, {**BY_BUS, "CUDA_VISIBLE_DEVICES": "1,-1,0"}, (A100,)),
        (TWO, {**BY_BUS, "CUDA_VISIBLE_DEVICES": "2,0"}, ()),
        # CUDA numbers the fastest first, so that nobody can say which this is.
        (TWO, {"CUDA_VISIBLE_DEVICES": "1"}, (f"number 1 of {T4}, {A100}",)),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "1"}, (T4,)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "GPU-aaaa2"}, (A100,)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}, ()),
        (DIVIDED, {"CUDA_VISIBLE_DEVICES": "MIG-cba"}, ("NVIDIA A100 MIG 3g.20gb",)),
        (DIVIDED, {"CUDA_VISIBLE_DEVICES": "0"}, ("NVIDIA A100 MIG 1g.5gb",)),
        (DIVIDED, {"CUDA_VISIBLE_DEVICES": "GPU-5c"}, ("NVIDIA A100 MIG 1g.5gb",)),
        (ALIKE, {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}, (f"{T4} at 50%", f"{T4} at 50%")),
    ],
)
def test_the_visible_ones_are_those_that_cuda_takes(
    listing: str, environment: dict[str, str], visible: tuple[str, ...]
) -> None:
    assert granted(read_listing(listing), environment) == visible


def test_machines_of_two_grants_are_of_two_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{TWO}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for cached in (facts.machine_facts, facts._gpus):
        cached.cache_clear()
    try:
        kinds = {}
        for uuid in ("GPU-aaaa1", "GPU-aaaa2"):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuid)
            kinds[uuid] = facts.machine_of("gpu").kind
            assert facts.machine_of("cpu").gpus == (T4, A100)
        assert kinds["GPU-aaaa1"].endswith(f", {T4}")
        assert kinds["GPU-aaaa2"].endswith(f", {A100}")
    finally:
        for cached in (facts.machine_facts, facts._gpus):
            cached.cache_clear()
