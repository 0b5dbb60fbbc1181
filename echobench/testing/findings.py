"""What a check found, and how checks that raise become findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict


class CheckResult(BaseModel):
    """One check and what came of it.

    Attributes:
        name: of the check.
        status: `skipped` where it could not be made, and `found` says why.
        found: what there is.
        advice: what to change; empty unless it failed.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    status: Literal["passed", "failed", "skipped"]
    found: str
    advice: str = ""


class FaultError(Exception):
    """Raised by a check that fails: what was found, and what to change."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


class SkipError(Exception):
    """Raised by a check that cannot be made here; its message says why."""


def made(name: str, check: Callable[[], str]) -> CheckResult:
    """Make a check: it returns what it found, or raises FaultError or SkipError."""
    try:
        return CheckResult(name=name, status="passed", found=check())
    except FaultError as fault:
        return CheckResult(name=name, status="failed", found=fault.found, advice=fault.advice)
    except SkipError as skip:
        return CheckResult(name=name, status="skipped", found=str(skip))
    except Exception as error:
        # The plugin's code ran in there, and may raise anything: that is a finding too.
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return CheckResult(
            name=name, status="failed", found=found, advice="the plugin raised; mend it"
        )


def skipped(names: Sequence[str], why: str) -> list[CheckResult]:
    """Return findings for checks that are not made."""
    return [CheckResult(name=name, status="skipped", found=why) for name in names]


def all_well(findings: Sequence[CheckResult]) -> bool:
    """Return whether none failed."""
    return not any(finding.status == "failed" for finding in findings)


def assert_well(subject: str, findings: Sequence[CheckResult]) -> None:
    """Raise AssertionError with all failures, one a line, unless none failed."""
    failures = [f for f in findings if f.status == "failed"]
    if failures:
        lines = [f"{f.name}: {f.found} -> {f.advice}" for f in failures]
        raise AssertionError("\n".join([f"{subject} does not keep the rules:", *lines]))
