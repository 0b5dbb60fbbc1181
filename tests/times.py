"""A plugin of pytest, `-p tests.times`: processor seconds by file and by test (`make test-times`).

A test's processes count where somebody waited for them; what a fixture takes counts for the test
that asked for it first.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Generator

import pytest

NAME = "processor_s"
SLOWEST = 40
"""Tests that are listed."""

_spent_s: defaultdict[str, float] = defaultdict(float)
_last_s = 0.0


def processor_s() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def pytest_runtest_logstart() -> None:
    global _last_s
    _last_s = processor_s()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    global _last_s
    report = yield
    now_s = processor_s()
    # The report goes to the process that shows it.
    report.user_properties = [(NAME, now_s - _last_s)]
    _last_s = now_s
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, spent_s in report.user_properties:
        if name == NAME and isinstance(spent_s, float):
            _spent_s[report.nodeid] += spent_s


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    files: defaultdict[str, float] = defaultdict(float)
    for test, spent_s in _spent_s.items():
        files[test.partition("::")[0]] += spent_s
    terminalreporter.section(f"processor seconds: {sum(files.values()):,.0f} in all")
    for shown, most in (files, None), (_spent_s, SLOWEST):
        ordered = sorted(shown.items(), key=lambda each: each[1], reverse=True)
        for name, spent_s in ordered[:most]:
            terminalreporter.write_line(f"{spent_s:8.1f} {name}")
        terminalreporter.write_line("")
