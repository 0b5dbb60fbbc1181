"""Every error that echobench raises on purpose.

EchobenchError
├── UsageError            the request cannot be carried out as written: exit code 2
│   ├── UnknownNameError  no such task, backend, engine or parameter
│   ├── PluginError       a plugin file cannot be loaded, or two plugins share a name
│   └── ExecutorError     where trials were to run cannot be reached, or does not fit
├── StorageError          a record cannot be kept: exit code 1
├── DamagedError          a line or a file that holds no record: named, counted, left out
│   └── NewerError        a record of a newer echobench: as damaged, but not set aside
├── UnavailableError      a backend is not installed: a row with status `unavailable`
├── UnsupportedError      a backend cannot do what is asked: a row with status `unsupported`
├── JobLostError         a job was lost with the machine that ran it: started again
├── RefusedError          a stranger's network that Keras does not read: status `failed`
└── TrainingError         a trial went wrong in a way we understand: status `failed`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EchobenchError(Exception):
    """Base of all; its message is one line that says what to do."""


class UsageError(EchobenchError):
    """The request cannot be carried out as written."""


class UnknownNameError(UsageError):
    """A name that nothing answers to; suggests the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        nearest = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(choices)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class PluginError(UsageError):
    """A plugin that cannot be loaded or that clashes with another."""


class ExecutorError(UsageError):
    """Where trials were to run cannot be reached, or is not what they were planned for."""


class StorageError(EchobenchError):
    """A record cannot be kept: the disk is full, or the folder is gone."""


class DamagedError(EchobenchError):
    """A line that holds no record, or a file that cannot be read."""


class NewerError(DamagedError):
    """A record that a newer echobench wrote: it may be whole, but not to us."""


class UnavailableError(EchobenchError):
    """A backend whose framework is not installed or not usable here."""


class UnsupportedError(EchobenchError):
    """A backend that cannot do what is asked of it: train, or run some layer."""


class JobLostError(EchobenchError):
    """A job was lost with the machine that ran it; the message says how."""


class RefusedError(EchobenchError):
    """A stranger's network that Keras does not read in its safe mode."""


class TrainingError(EchobenchError):
    """Training cannot go on: the loss is not a number, say."""
