"""The conformance kit: does a task or a backend keep the rules? For plugin authors' tests.

::

    from echobench.testing import assert_task

    def test_my_task():
        assert_task("my-task")

It imports no framework: what needs one runs in worker processes.
"""

from echobench.testing.backends import assert_backend, check_backend
from echobench.testing.findings import CheckResult
from echobench.testing.tasks import assert_task, check_task

__all__ = ["CheckResult", "assert_backend", "assert_task", "check_backend", "check_task"]
