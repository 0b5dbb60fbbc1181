"""The GPUs of this machine by name, and which of them a process was granted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LISTING = ("nvidia-smi", "-L")
"""The command that lists GPUs, and below each its MIG instances."""
LINE = re.compile(r"GPU \d+: (?P<name>.+?) \(UUID: (?P<uuid>[^)]+)\)")
INSTANCE = re.compile(r"\s+MIG (?P<name>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>[^)]+)\)")


class Gpu(NamedTuple):
    """A GPU, with its name and UUID; of one that is divided, the instances too."""

    name: str
    uuid: str
    instances: tuple[Gpu, ...] = ()

    @property
    def parts(self) -> tuple[Gpu, ...]:
        """Return its instances; itself if it is whole."""
        return self.instances or (self,)


def read_listing(text: str) -> list[Gpu]:
    """Return the GPUs that `nvidia-smi -L` lists, in the order of their numbers."""
    found: list[Gpu] = []
    for line in text.splitlines():
        if match := LINE.match(line):
            found.append(Gpu(match["name"], match["uuid"]))
        elif found and (match := INSTANCE.match(line)):
            last = found[-1]
            part = Gpu(f"{last.name} MIG {match['name']}", match["uuid"])
            found[-1] = last._replace(instances=(*last.instances, part))
    return found


def names(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return the names of GPUs; an instance of a divided one is no whole GPU."""
    return tuple(part.name for gpu in gpus for part in gpu.parts)


def granted(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of those GPUs that a process with this environment sees, as CUDA reads it.

    Entries are numbers, or beginnings of UUIDs. Nothing is visible from the first one on that
    names no GPU.
    """
    entries = environment.get("CUDA_VISIBLE_DEVICES")
    found = names(gpus) if entries is None else _named(gpus, entries.split(","), environment)
    share = environment.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
    return tuple(f"{name} at {share}%" for name in found) if share else found


def _named(
    gpus: Sequence[Gpu], entries: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    alike = len({gpu.name for gpu in gpus}) == 1
    found: list[str] = []
    for entry in map(str.strip, entries):
        if entry.isascii() and entry.isdigit():
            if int(entry) >= len(gpus):
                break
            # By default CUDA numbers the fastest first, and nvidia-smi by their buses.
            surely = alike or by_bus
            name = gpus[int(entry)].parts[0].name if surely else _one_of(gpus, entry)
        else:
            parts = [part for gpu in gpus for part in (gpu, *gpu.instances)]
            matching = [part for part in parts if entry and part.uuid.startswith(entry)]
            if len(matching) != 1:
                break
            name = matching[0].parts[0].name
        found.append(name)
    return tuple(found)


def _one_of(gpus: Sequence[Gpu], number: str) -> str:
    return f"number {number} of {', '.join(gpu.name for gpu in gpus)}"
