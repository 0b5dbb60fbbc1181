"""The conformance kit: checks of tasks and backends, for plugin authors' tests.

::

    from echobench.testing import assert_task

    def test_my_task():
        assert_task("my-task")

It imports no framework: checks that need one run in worker processes.
"""

from echobench.testing.backends import assert_backend, check_backend
from echobench.testing.checks import CheckResult
from echobench.testing.tasks import assert_task, check_task

__all__ = ["CheckResult", "assert_backend", "assert_task", "check_backend", "check_task"]
