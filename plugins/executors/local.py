"""This machine: one job after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from echobench import Connection, Executor, Job, Record, Site, hookimpl


class Local(Executor):
    """This machine: one job after the other."""

    name = "local"
    local = True

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        yield _ThisMachine(site)


class _ThisMachine(Connection):
    def __init__(self, site: Site) -> None:
        self._site = site
        self._records: list[Record] = []

    def room(self) -> int:
        return 1

    def start(self, job: Job) -> str:
        self._records = self._site.run_here(job)
        return job.trial.key

    def ended(self, handles: list[str], seconds: float) -> list[str]:
        return handles

    def records(self, handle: str) -> list[Record]:
        return self._records

    def cancel(self, handle: str) -> None:
        """Do nothing: a job that was started has ended."""


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    return [Local]
