"""What an observer plugin provides: something told of every trial as it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from echobench.trial.messages import Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial


class Observer:
    """Told of trials, in the parent process: a log elsewhere, a dashboard.

    Chosen with `--observe NAME`. A subclass overrides what it needs. An
    observer that raises is named on stderr, and left alone from then on; the
    trials go on. It must not import a framework.

    Attributes:
        name: what `--observe` takes.
        requires: modules that must be installed.
        extra: echobench's extra that installs them, if any.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None

    def trial_started(self, trial: Trial, results: Path) -> None:
        """Note that a trial begins.

        Args:
            trial: what runs.
            results: the results folder, for what the observer writes.
        """

    def trial_progressed(self, trial: Trial, progress: Progress) -> None:
        """Note how far the trial is; called a few times a second at most."""

    def trial_finished(self, trial: Trial, record: Record) -> None:
        """Note what came of the trial; its record is already kept."""
