"""Processors without a brand name, as Linux describes them on other machines."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from pathlib import Path

import pytest

from echobench.machine import processor
from tests.files import written

# As these machines print /proc/cpuinfo, shortened to one core.
RASPBERRY = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Hardware\t: BCM2835
Revision\t: c03111
Serial\t\t: 10000000deadbeef
Model\t\t: Raspberry Pi 4 Model B Rev 1.1
"""
TWO_KINDS = """CPU implementer\t: 0x41
CPU part\t: 0xd03

CPU implementer\t: 0x41
CPU part\t: 0xd09
"""
POWER = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"
RISC = "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nuarch\t\t: sifive,u74-mc\n"
XEON = "model\t\t: 167\nmodel name\t: Intel(R) Xeon(R) Processor\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (
            RASPBERRY,
            "implementer 0x41 part 0xd08, Raspberry Pi 4 Model B Rev 1.1, BCM2835",
        ),
        (TWO_KINDS, "implementer 0x41 part 0xd03 0xd09"),
        (POWER, "POWER9, altivec supported"),
        (RISC, "sifive,u74-mc"),
        (XEON, "Intel(R) Xeon(R) Processor"),
        ("processor\t: 0\n", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("brand", [None, "", "-"])
def test_a_processor_without_a_brand_is_called_by_what_the_system_says(
    brand: str | None, cpuinfo: str, name: str | None, tmp_path: Path
) -> None:
    assert processor.processor_name(brand, written(tmp_path, {"proc/cpuinfo": cpuinfo})) == name


def test_a_brand_is_taken_as_it_is(tmp_path: Path) -> None:
    there = written(tmp_path, {"proc/cpuinfo": RASPBERRY})
    assert processor.processor_name("Cortex-A72", there) == "Cortex-A72"
    assert processor.processor_name(None, tmp_path / "nowhere") is None


def test_an_identity_says_that_it_is_this_machine_and_not_which(tmp_path: Path) -> None:
    ours = "0123456789abcdef0123456789abcdef"
    found = processor.identity(written(tmp_path, {"etc/machine-id": f"{ours}\n"}))
    assert found == processor.identity(tmp_path)
    assert found == hmac.new(ours.encode(), processor.APPLICATION, hashlib.sha256).hexdigest()[:16]
    other = processor.identity(written(tmp_path / "other", {"etc/machine-id": ours[::-1]}))
    assert found != other
    assert found not in ours


def test_without_a_machines_id_its_start_identifies_it(tmp_path: Path) -> None:
    boot = "proc/sys/kernel/random/boot_id"
    first = processor.identity(written(tmp_path, {"etc/machine-id": "", boot: "one"}))
    assert first == processor.identity(tmp_path)
    # As systemd has it before the first boot.
    written(tmp_path, {"etc/machine-id": "uninitialized\n"})
    assert first == processor.identity(tmp_path)
    assert first != processor.identity(written(tmp_path, {boot: "two"}))


def test_what_nothing_identifies_is_like_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0x010000000001  # what Python returns where there is no hardware address
    monkeypatch.setattr(uuid, "getnode", lambda: drawn)
    assert processor.identity(tmp_path) != processor.identity(tmp_path)
    monkeypatch.setattr(uuid, "getnode", lambda: 0x020000000001)
    assert processor.identity(tmp_path) == processor.identity(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "name"),
    [
        ("x86_64", XEON, "Intel(R) Xeon(R) Processor"),
        ("x86_64", "model name\t: 15\nmodel name\t: EPYC\n", "EPYC"),
        ("x86_64", "model name\t:\n", None),
        ("aarch64", "model name\t: ARMv7\n", None),  # py-cpuinfo has other names there
    ],
)
def test_on_x86_linux_says_what_py_cpuinfo_would_take_a_while_for(
    architecture: str, cpuinfo: str, name: str | None, tmp_path: Path
) -> None:
    there = written(tmp_path, {"proc/cpuinfo": cpuinfo})
    assert processor.model_name(architecture, there) == name
    assert processor.model_name(architecture, tmp_path / "nowhere") is None
