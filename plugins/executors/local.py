"""This machine: one job after the other, or several side by side, each on cores of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait

from pydantic import Field

from echobench import Connection, Executor, Job, Record, Site, hookimpl


class Local(Executor):
    """This machine: one job after the other, or `jobs` of them side by side."""

    name = "local"
    local = True

    jobs: int = Field(default=1, ge=1)

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        yield _ThisMachine(site, self.jobs)


class _ThisMachine(Connection):
    def __init__(self, site: Site, jobs: int) -> None:
        self._site = site
        self._jobs = jobs

    def room(self) -> int:
        return self._jobs

    def start(self, job: Job) -> Future[list[Record]]:
        future: Future[list[Record]] = Future()
        if self._jobs == 1:
            future.set_result(self._site.run_here(job))
        else:
            # A daemon: code of a plugin that never returns does not keep the process from its end.
            threading.Thread(target=self._run, args=(job, future), daemon=True).start()
        return future

    def ended(
        self, handles: list[Future[list[Record]]], seconds: float
    ) -> list[Future[list[Record]]]:
        return [*wait(handles, seconds, FIRST_COMPLETED).done]

    def records(self, handle: Future[list[Record]]) -> list[Record]:
        return handle.result()

    def cancel(self, handle: Future[list[Record]]) -> None:
        """Do nothing: as a run ends, the harness stops the jobs that run here."""

    def _run(self, job: Job, future: Future[list[Record]]) -> None:
        try:
            records = self._site.run_here(job)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(records)


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    return [Local]
