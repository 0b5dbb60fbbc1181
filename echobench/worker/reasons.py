"""Why a trial failed, in one line."""

from __future__ import annotations

from echobench.errors import DataError, EchobenchError
from echobench.machine.privacy import redact_plugin
from echobench.plugin.files import option_of
from echobench.trial.trial import Trial


def reason_of(error: EchobenchError, trial: Trial) -> str:
    """Return why a trial failed; of wrong data with the command that says more of the task."""
    if not isinstance(error, DataError):
        return str(error)
    options = option_of(map(redact_plugin, trial.plugins))
    return f"{error}; see: echobench check task {trial.task}{options}"
