"""The executor and the observers that a user names."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from echobench.errors import UnknownNameError, UsageError
from echobench.plugin.interfaces import Executor, Observer
from echobench.plugin.manager import Plugins
from echobench.trial.selectors import explained, parsed, why_incomplete


def make_executor(
    selector: str, plugins: Plugins, *, address: str | None = None, jobs: int | None = None
) -> Executor:
    """Return the executor of a selector, with those of its parameters that are options too.

    Raises:
        UsageError: no such executor or parameter, or a module that it requires is missing.
    """
    name, values = parsed("--executor", selector)
    provided = plugins.executors[name]
    kind = provided.value
    if address is not None:
        if "address" not in kind.model_fields:
            raise UsageError(f"--address: executor {name!r} is reached without one")
        values["address"] = address
    if jobs is not None:
        if "jobs" not in kind.model_fields:
            raise UsageError(f"--jobs: executor {name!r} decides itself how many run at once")
        if jobs < 1:
            raise UsageError(f"--jobs: expected 1 or more; received {jobs}")
        if values.setdefault("jobs", str(jobs)) != str(jobs):
            raise UsageError(f"--jobs {jobs} and --executor {selector}: expected one of them")
    for key in values:
        if key not in kind.model_fields:
            raise UnknownNameError(f"parameter of executor {name!r}:", key, kind.model_fields)
    missing = provided.why_missing()
    if missing is not None:
        raise UsageError(f"--executor {name}: {missing}")
    incomplete = why_incomplete("--executor", name, kind, values)
    if incomplete is not None:
        raise UsageError(f"executor {name} {incomplete}{provided.source.option}")
    try:
        return provided.call(lambda one: one.model_validate(values))
    except ValidationError as error:
        raise UsageError(f"--executor {selector}: {explained(error)}") from error


def find_observers(names: Sequence[str], plugins: Plugins) -> list[Observer]:
    """Return the observers of these names.

    Raises:
        UsageError: no such observer, or a module that it requires is missing.
    """
    observers = {name: plugins.observers[name] for name in names}
    for name, observer in observers.items():
        missing = observer.why_missing()
        if missing is not None:
            raise UsageError(f"--observe {name}: {missing}")
    return [observer.value for observer in observers.values()]
