"""What tests may do here: a container takes rights away from root too."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

CAP_SETUID = 7
"""Its bit among Linux' capabilities."""


def may_become_another_user() -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True  # no Linux: root may
    found = re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> CAP_SETUID & 1)


needs_another_user = pytest.mark.skipif(
    not may_become_another_user(), reason="needs root's right to become another user"
)
