"""The conformance kit: checks of tasks and backends, for plugin authors' tests.

::

    from echobench.testing import assert_task

    def test_my_task():
        assert_task("my-task")

It imports no framework: checks that need one run in worker processes. The names are imported
when first used, since every pytest session loads the plugin in this package.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echobench.testing.backends import assert_backend, check_backend
    from echobench.testing.checks import CheckResult
    from echobench.testing.tasks import assert_task, check_task

__all__ = ["CheckResult", "assert_backend", "assert_task", "check_backend", "check_task"]

_MODULES = {
    "CheckResult": "checks",
    "assert_backend": "backends",
    "assert_task": "tasks",
    "check_backend": "backends",
    "check_task": "tasks",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
