"""What readers rely on in the free parts of a record: its trial and its provenance.

Both say more, and neither need say all of this: a trial's own model
(`echobench.harness.plan.Trial`) asks for more, and older records hold less. But where one of
these is there, it is of this kind, or the line is damaged. By hand, since it is done with each
line: msgspec would copy all of it, which takes three times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echobench.errors import DamagedError

NONE = type(None)
LARGEST = 2**63 - 1
"""What is counted fits 64 bits; more is no number to calculate with."""
Kinds = Mapping[str, tuple[type, ...]]
RECIPE: Kinds = dict.fromkeys(("sequences", "epochs", "evaluate_every"), (int,))
TRIAL: Kinds = {
    **dict.fromkeys(("task", "source"), (str,)),
    **dict.fromkeys(("parameters", "recipe", "versions"), (dict,)),
    **dict.fromkeys(("threads", "seed", "certify", "sustain", "repeat", "replicates"), (int,)),
    "max_epochs": (int, NONE),
    "quick": (bool,),
    "cache": (bool,),
}
MACHINE: Kinds = {"gpus": (list,), "memory_bytes": (int, NONE)}
CALIBRATION: Kinds = {"matmul_flops_per_s": (float, int)}
PROVENANCE: Kinds = {
    **dict.fromkeys(("machine", "git", "versions", "calibration"), (dict, NONE)),
    "command": (list, NONE),
    "path": (dict,),
}


def check(trial: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Check what is read of a record's free parts.

    Raises:
        DamagedError: something is of another kind.
    """
    _check("trial", trial, TRIAL)
    _check("trial.recipe", trial.get("recipe"), RECIPE)
    _check_all("trial.versions", trial.get("versions"), str)
    _check("provenance", provenance, PROVENANCE)
    _check_all("provenance.versions", provenance.get("versions"), str)
    machine = provenance.get("machine")
    _check("provenance.machine", machine, MACHINE)
    if machine and not all(type(gpu) is str for gpu in machine.get("gpus", ())):
        raise DamagedError("provenance.machine.gpus: expected a list of names")
    for when, found in (provenance.get("calibration") or {}).items():
        if found is not None and type(found) is not dict:
            raise DamagedError(f"provenance.calibration.{when}: expected an object")
        _check(f"provenance.calibration.{when}", found, CALIBRATION)


def _check(where: str, told: dict[str, Any] | None, kinds: Kinds) -> None:
    for name, value in (told or {}).items():
        expected = kinds.get(name)
        if expected is None:
            continue
        kind = type(value)
        if kind not in expected:
            names = " or ".join(one.__name__ for one in expected)
            raise DamagedError(f"{where}.{name}: expected {names}; received {kind.__name__}")
        if kind is int and not -LARGEST <= value <= LARGEST:
            raise DamagedError(f"{where}.{name}: expected at most 64 bits")


def _check_all(where: str, told: dict[str, Any] | None, expected: type) -> None:
    for name, value in (told or {}).items():
        if type(value) is not expected:
            raise DamagedError(f"{where}.{name}: expected {expected.__name__}")
