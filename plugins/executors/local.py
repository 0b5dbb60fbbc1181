"""This machine: one trial after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from echobench import Executor, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from echobench.harness.assignments import Assignment
    from echobench.plugin.executor import Site
    from echobench.trial.record import Record


class Local(Executor):
    """This machine: one trial after the other."""

    name: ClassVar[str] = "local"
    local: ClassVar[bool] = True

    def run(
        self, todo: Iterator[Assignment | None], site: Site
    ) -> Generator[tuple[Assignment, list[Record]]]:
        """Run each when the one before has ended."""
        for assignment in filter(None, todo):
            yield assignment, site.perform(assignment)


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    """Register the executor."""
    return [Local]
