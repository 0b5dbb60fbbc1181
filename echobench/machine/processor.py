"""The processor's name where py-cpuinfo has none, and what identifies a machine without naming it.

Many ARM machines give no brand name. What they do give tells their classes apart; where there is
nothing, only a machine is like itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from echobench.trial.record import is_unknown

NAMES = ("model name", "cpu model", "uarch", "Processor", "cpu")
"""Fields of /proc/cpuinfo that name a processor, on one architecture or another."""
X86 = ("x86_64", "i386", "i686")
BOARDS = ("Model", "Hardware")
"""Fields that name what it is built into. The field `Serial` is nobody's business."""
IDENTITIES = ("etc/machine-id", "var/lib/dbus/machine-id", "proc/sys/kernel/random/boot_id")
"""Files that identify a machine, or else its start."""
APPLICATION = b"echobench: the class of a machine with an unknown processor"
MULTICAST = 1 << 40
"""Bit of a hardware address that Python sets in one that it has drawn at random."""


def model_name(architecture: str, root: Path) -> str | None:
    """Return what py-cpuinfo would call a processor; None where Linux alone does not say it.

    On x86 that is the first `model name` that is no number. py-cpuinfo takes a fifth of a second
    of the processor, for much else.

    Args:
        architecture: of the system.
        root: folder of `proc`.
    """
    if architecture not in X86:
        return None
    names = (value for name, value in _cpuinfo(root) if name == "model name")
    return next((value for value in names if value and not value.isdigit()), None)


def processor_name(brand: str | None, root: Path) -> str | None:
    """Return the processor's name: the brand, or what the system says of it, if anything.

    Args:
        brand: by py-cpuinfo.
        root: folder of `proc`.
    """
    if brand is not None and not is_unknown(brand):
        return brand
    fields: dict[str, list[str]] = defaultdict(list)
    for name, value in _cpuinfo(root):
        if not is_unknown(value) and value not in fields[name]:
            fields[name].append(value)  # several where its cores are of several kinds
    named = next((fields[name] for name in NAMES if fields[name]), [])
    if fields["CPU implementer"] and fields["CPU part"]:
        implementers, parts = (" ".join(fields[f"CPU {name}"]) for name in ("implementer", "part"))
        named = [*named, f"implementer {implementers} part {parts}"]
    boards = [board for name in BOARDS for board in fields[name]]
    return ", ".join([*named, *boards]) or None


def _cpuinfo(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the fields of /proc/cpuinfo and their values; none where there is no such file."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            yield name.strip(), value.strip()


def identity(root: Path) -> str:
    """Return a digest of the machine's identity, from which nobody can tell which machine it is.

    systemd recommends such a digest in place of the machine's own (man machine-id). Where nothing
    identifies the machine it is one that no other process has.
    """
    return hmac.new(_secret(root), APPLICATION, hashlib.sha256).hexdigest()[:16]


def _secret(root: Path) -> bytes:
    for name in IDENTITIES:
        with contextlib.suppress(OSError):
            found = (root / name).read_bytes().strip()
            if found and found != b"uninitialized":
                return found
    address = uuid.getnode()
    return secrets.token_bytes() if address & MULTICAST else str(address).encode()
