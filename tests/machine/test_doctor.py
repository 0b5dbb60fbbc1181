"""The doctor: its verdicts on given measurements, and a run on this machine."""

from __future__ import annotations

import json

import pytest

from echobench.machine import doctor
from echobench.machine.doctor import Check
from tests.conftest import Command


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (doctor._load(0.3, 2), "good"),
        (doctor._load(1.5, 2), "doubtful"),
        (doctor._steal(0.0), "good"),
        (doctor._steal(0.1), "doubtful"),
        (doctor._steal(None), "unknown"),
        (doctor._steadiness([1e11, 1.05e11]), "good"),
        (doctor._steadiness([1e11, 1.5e11]), "doubtful"),
        (doctor._sharing([0.99, 0.95]), "good"),
        (doctor._sharing([0.99, 0.5]), "doubtful"),
        (doctor._governor("performance"), "good"),
        (doctor._governor("powersave"), "doubtful"),
        (doctor._governor(None), "unknown"),
        (doctor._siblings([(0,), (1,)], True), "good"),
        (doctor._siblings([(0, 1)], True), "good"),
        (doctor._siblings([(0,), (1,)], False), "unknown"),
        (doctor._quota(None), "good"),
        (doctor._quota(0.5), "doubtful"),
        (doctor._memory(8 * 2**30), "good"),
        (doctor._memory(2**30), "doubtful"),
    ],
)
def test_a_verdict_comes_with_what_to_do(check: Check, verdict: str) -> None:
    assert check.verdict == verdict
    assert check.found
    assert bool(check.advice) == (verdict == "doubtful")


def test_threads_of_one_core_are_counted() -> None:
    found = doctor._siblings([(0, 1), (2, 3)], True).found
    assert found == "2 cores with 4 hyperthreads; a thread takes a core"


@pytest.mark.parametrize(
    ("quota", "found", "advice"),
    [
        (0.5, "half a core by quota", "raise the quota"),
        (1.0, "1 core by quota", "use --threads 1 at most, or raise"),
        (2.5, "2.5 cores by quota", "use --threads 2 at most, or raise"),
    ],
)
def test_a_quota_is_said_in_cores(quota: float, found: str, advice: str) -> None:
    check = doctor._quota(quota)
    assert check.found == found
    assert check.advice.startswith(advice)


def test_it_looks_at_this_machine(echobench: Command) -> None:
    done = echobench("doctor", "--json")
    assert done.returncode == 0, done.stderr
    names = [check["name"] for check in json.loads(done.stdout)]
    told = "load steal steadiness sharing frequency cores quota memory power"
    assert names == told.split()
