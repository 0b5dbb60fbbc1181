"""Why a trial failed, in one line."""

from __future__ import annotations

from echobench.errors import DataError, EchobenchError
from echobench.plugin.files import file_of
from echobench.trial.trial import Trial


def reason_of(error: EchobenchError, trial: Trial) -> str:
    """Return why a trial failed; of wrong data with the command that says more of the task."""
    if not isinstance(error, DataError):
        return str(error)
    files = [file.name for plugin in trial.plugins if (file := file_of(plugin)) is not None]
    command = ["echobench", "check", "task", trial.task, *(f"--plugin {name}" for name in files)]
    return f"{error}; see: {' '.join(command)}"
