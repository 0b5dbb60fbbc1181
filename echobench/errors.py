"""Every error that echobench raises on purpose.

EchobenchError
├── UsageError            the request is invalid: exit code 2
│   ├── UnknownNameError  no such task, backend, engine or parameter
│   ├── PluginError       a plugin file cannot be loaded, or two plugins share a name
│   └── ExecutorError     an executor's machines cannot be reached, or do not fit the trials
├── StorageError          a record cannot be written: exit code 1
├── DamagedError          a line or a file that holds no record: named, counted, left out
│   └── NewerError        a record of a newer echobench: left out, but never set aside
├── UnavailableError      a backend is not installed: a row with status `unavailable`
├── UnsupportedError      a backend cannot do the job: a row with status `unsupported`
├── JobLostError          a job was lost with the machine that ran it: it is started again
├── RefusedError          Keras refuses to load a saved network: status `failed`
├── NetworkError          a task's network cannot be trained as written: status `failed`
└── TrainingError         a trial fails for a known reason: status `failed`
    └── DataError         a task's rows or answers are not what it declares
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EchobenchError(Exception):
    """Base class; its message is one line that says what to do."""


class UsageError(EchobenchError):
    """The request is invalid."""


class UnknownNameError(UsageError):
    """Unknown name; the message suggests the closest match."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        nearest = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(choices)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class PluginError(UsageError):
    """A plugin cannot be loaded, or clashes with another."""


class ExecutorError(UsageError):
    """An executor's machines cannot be reached, or are not what the trials were planned for."""


class StorageError(EchobenchError):
    """A record cannot be written: the disk is full, or the folder is gone."""


class DamagedError(EchobenchError):
    """A line holds no record, or a file cannot be read."""


class NewerError(DamagedError):
    """A newer echobench wrote the record, which is unreadable only for this version."""


class UnavailableError(EchobenchError):
    """A backend's framework is not installed, or not usable here."""


class UnsupportedError(EchobenchError):
    """A backend cannot do the job: train, or run some layer."""


class JobLostError(EchobenchError):
    """A job was lost with the machine that ran it; the message says how."""


class RefusedError(EchobenchError):
    """Keras refuses to load a saved network in its safe mode."""


class NetworkError(EchobenchError):
    """A task's `network` returns no network, or one that means no one thing on all backends."""


class TrainingError(EchobenchError):
    """Training cannot continue: the loss is not a number, for example."""


class DataError(TrainingError):
    """A task's rows, framing or answers are not what it declares.

    Attributes:
        advice: what to change in the task.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice
