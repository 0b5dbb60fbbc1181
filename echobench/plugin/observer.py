"""The interface of an observer plugin: it receives every trial's progress and record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from echobench.trial.job import Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial


class Observer:
    """Receives trials as they run: for a log elsewhere, or a dashboard.

    Chosen with `--observe NAME`. A subclass overrides the methods that it needs; they run in
    the parent process, where no framework may be imported. An observer that raises is named on
    stderr and not called again; the trials go on.

    Attributes:
        name: the name that `--observe` takes.
        requires: modules that must be installed.
        extra: echobench's extra that installs them, if any.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None

    def trial_started(self, trial: Trial, results: Path) -> None:
        """Handle a trial's start.

        Args:
            trial: the trial that starts.
            results: the results folder, for files that the observer writes.
        """

    def trial_progressed(self, trial: Trial, progress: Progress) -> None:
        """Handle a trial's progress; called at most a few times a second."""

    def trial_finished(self, trial: Trial, record: Record) -> None:
        """Handle a trial's record, which is already on disk."""
