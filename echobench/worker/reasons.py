"""Why a trial failed, in one line."""

from __future__ import annotations

import traceback

from echobench.errors import DataError, EchobenchError, UnavailableError, UnsupportedError
from echobench.machine.privacy import redact_plugin
from echobench.plugin.failures import fault_of_plugin, one_line
from echobench.plugin.files import option_of
from echobench.trial.job import Failure
from echobench.trial.trial import Trial


def failure_of(error: Exception, trial: Trial) -> Failure:
    """Return why a trial failed, or cannot run; what is a bug is printed, into its log."""
    match error:
        case UnavailableError():
            return Failure(status="unavailable", reason=str(error))
        case UnsupportedError():
            return Failure(status="unsupported", reason=str(error))
        case EchobenchError():
            return Failure(status="failed", reason=reason_of(error, trial))
    traceback.print_exc()
    return Failure(status="failed", reason=fault_of_plugin(error) or one_line(error))


def reason_of(error: EchobenchError, trial: Trial) -> str:
    """Return why a trial failed; of wrong data with the command that says more of the task."""
    if not isinstance(error, DataError):
        return str(error)
    options = option_of(sorted(map(redact_plugin, trial.plugins)))  # wherever they lie
    return f"{error}; see: echobench check task {trial.task}{options}"
