"""What trials are compared with: first losses and fingerprints, computed once on the reference.

And the rehearsals that cells have passed.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from echobench.core.backend import Backend
from echobench.core.training import TakenFingerprint
from echobench.harness import launch
from echobench.harness.sharing import POLL_S
from echobench.plugin.catalog import Provided
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store, replace_file
from echobench.store.locks import FolderLocks
from echobench.text import plain, say
from echobench.trial.job import (
    PARITY_TOLERANCE,
    Job,
    Reference,
    Rehearsal,
    Report,
    needs_rehearsal,
    squeezed,
)
from echobench.trial.record import Record
from echobench.trial.trial import BOUND, Trial


class _Kept(BaseModel):
    """A file of `reference/`: the first losses, and fingerprints by `_run`.

    A fingerprint is None where the reference has none to compare with: its loss is not finite.
    Those of the squeezed recipe are None where no trial needed them, empty if not finite.
    """

    name: str
    losses: list[float]
    squeezed: list[float] | None = None
    fingerprints: dict[str, TakenFingerprint | None] = {}


class References:
    """The references of trials, kept beside the records in `reference/KEY.json`.

    Args:
        plugins: where the reference backend is.
        store: keeps the references beside its records.
        fingerprints: whether trials are compared by their fingerprints too.
    """

    def __init__(self, plugins: Plugins, store: Store, *, fingerprints: bool = True) -> None:
        self._plugins = plugins
        self._store = store
        self._fingerprints = fingerprints
        self._planned: dict[str, dict[str, Trial]] = defaultdict(dict)
        self._rehearsed: set[str] = set()
        self._known: dict[str, _Kept | None] = {}

    @property
    def installed(self) -> bool:
        """Whether there is a reference backend, and so something to compare trials with."""
        return self._backend is not None

    def plan(self, trials: Iterable[Trial]) -> None:
        """Take note of trials, whose fingerprints are computed together, in one process."""
        for trial in trials if self._fingerprints else ():
            ours = None if trial.quick else self.of(trial)
            if ours is not None:
                key = self._shared(ours).key
                self._planned[key].setdefault(_run(ours), ours)
                if needs_rehearsal(trial.recipe):
                    self._rehearsed.add(key)

    def of(self, trial: Trial) -> Trial | None:
        """Return the trial of the same seed with the tutorial's program on the reference backend.

        None where no reference backend is installed.
        """
        if self._backend is None:
            return None
        return trial.model_copy(
            update={
                "backend": self._backend.value.name,
                "engine": "fit",
                "device": "cpu",
                "sustain": 0,
                "replicates": 0,
                "devices": 1,
                "environment": {},
                "cache": False,
                "quick": False,
                "plugins": sorted({self._plugins.tasks[trial.task].plugin, self._backend.plugin}),
                "versions": {"echobench": trial.versions["echobench"], **self._versions},
                "backend_source": self._backend.digest(),
            }
        )

    def get(
        self,
        trial: Trial,
        locks: FolderLocks,
        computing: Callable[[], None],
        report: Report = launch.say_waiting,
    ) -> Reference | None:
        """Return the first losses that a trial must reproduce; None without a reference backend.

        They come from the tutorial's program on the reference backend, whatever the trial's
        seed. Where several processes need them, one computes them.

        Args:
            trial: the trial.
            locks: of this process.
            computing: called before they are computed.
            report: called with the progress of computing them.

        Raises:
            OSError: they cannot be written.
        """
        ours = self.of(trial)
        if ours is None:
            return None
        self.plan([trial])
        shared = self._shared(ours)
        kept = self._known.get(shared.key)
        if shared.key not in self._known or (kept is not None and self._lacks(shared, kept)):
            kept = self._read_or_compute(shared, locks, computing, report)
            self._known[shared.key] = kept
        return None if kept is None else Reference(name=kept.name, losses=kept.losses)

    def rehearsal(self, trial: Trial) -> Rehearsal | None:
        """Return the rehearsal of a trial's cell, of which `get` has returned the reference.

        None where its recipe needs none, or has no reference.
        """
        ours = self.of(trial)
        kept = None if ours is None else self._known.get(self._shared(ours).key)
        if kept is None or not needs_rehearsal(trial.recipe):
            return None
        losses = kept.squeezed or []
        return Rehearsal(losses=losses, passed=self._has_passed(trial, losses))

    def _has_passed(self, trial: Trial, losses: list[float]) -> float | None:
        """Return what a cell passed its rehearsal with; None where it did not, or by other losses.

        The reference's versions are no part of the file's name: its losses say for what it is.
        """
        try:
            found = Rehearsal.model_validate_json(self._passed(trial).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        passed = found.passed
        holds = passed is not None and 0 <= passed <= PARITY_TOLERANCE and found.losses == losses
        return passed if holds else None

    def keep(self, job: Job, records: Iterable[Record]) -> None:
        """Keep that a job's cell has passed its rehearsal, if it did.

        Raises:
            OSError: it cannot be written.
        """
        if job.rehearsal is None or job.rehearsal.passed is not None:
            return
        found = next((r.parity.squeezed for r in records if r.parity is not None), None)
        if found is not None and found <= PARITY_TOLERANCE:
            path = self._passed(job.trial)
            path.parent.mkdir(parents=True, exist_ok=True)
            passed = job.rehearsal.model_copy(update={"passed": found})
            replace_file(path, passed.model_dump_json() + "\n")

    def _passed(self, trial: Trial) -> Path:
        """Return the file of a cell's rehearsal, whatever its recipe was squeezed from."""
        recipe = squeezed(trial.recipe)
        cell = self._shared(trial).model_copy(update={"recipe": recipe, "sustain": 0})
        return self._store.folder / "reference" / "rehearsals" / f"{cell.key}.json"

    def compare(self, trial: Trial, record: Record) -> None:
        """Add to a record's fingerprint the reference's of the same seed, where it is known."""
        ours, taken = self.of(trial), record.fingerprint
        if ours is None or taken is None:
            return
        kept = self._known.get(self._shared(ours).key)
        theirs = None if kept is None else kept.fingerprints.get(_run(ours))
        if kept is not None and theirs is not None and theirs.epoch == taken.epoch:
            record.fingerprint = taken.beside(kept.name, theirs.loss, theirs.accuracy)

    def path(self, trial: Trial) -> Path | None:
        """Return the file of a trial's reference; None where no backend is the reference."""
        ours = self.of(trial)
        return None if ours is None else self._path(self._shared(ours))

    def _missing(self, shared: Trial, kept: _Kept | None) -> list[Trial]:
        """Return the planned trials whose fingerprints are not kept."""
        known = {} if kept is None else kept.fingerprints
        planned = self._planned[shared.key].items()
        return [trial for run, trial in planned if run not in known]

    def _lacks(self, shared: Trial, kept: _Kept) -> bool:
        """Return whether something that planned trials are compared with is not kept."""
        unrehearsed = shared.key in self._rehearsed and kept.squeezed is None
        return unrehearsed or bool(self._missing(shared, kept))

    def _read_or_compute(
        self, shared: Trial, locks: FolderLocks, computing: Callable[[], None], report: Report
    ) -> _Kept | None:
        path, lock = self._path(shared), f"reference {shared.key}"
        kept = _read(path)
        if kept is None or self._lacks(shared, kept):
            computing()
            while not locks.acquire([lock]):
                time.sleep(POLL_S)
            try:
                kept = _read(path)  # another process may have computed it meanwhile
                missing = self._missing(shared, kept)
                if kept is None or self._lacks(shared, kept):
                    found = self._compute(shared, missing, kept, report)
                    if found is not None:
                        replace_file(path, found.model_dump_json() + "\n")
                    kept = found or kept  # losses that are known still gate
                    if kept is not None:
                        for trial in missing:  # not tried again in this run
                            kept.fingerprints.setdefault(_run(trial), None)
                        if shared.key in self._rehearsed:
                            kept.squeezed = kept.squeezed or []
            finally:
                locks.release([lock])
        return kept

    def _compute(
        self,
        shared: Trial,
        trials: Sequence[Trial],
        kept: _Kept | None,
        report: Report,
    ) -> _Kept | None:
        """Return what the reference finds, beside what is kept.

        None, with the reason on stderr, if it is nothing.
        """
        assert self._backend is not None  # there is a trial on it
        log = self._store.logs / f"reference-{shared.key}.log"
        known = kept or _Kept(name=f"{shared.backend} {shared.engine}", losses=[])
        wanted = shared.key in self._rehearsed and known.squeezed is None
        job = Job(
            kind="reference",
            trials=[*trials] or [shared],
            rehearsal=Rehearsal() if wanted else None,
        )
        losses, *results = launch.work(job, self._backend.value, log, report)
        reason = next((one["reason"] for one in (losses, *results) if "reason" in one), None)
        if reason is not None:
            say(
                f"reference {known.name} of {shared.label}: {plain(reason)}; its trials here are "
                f"not compared with it, or not wholly: see {log}"
            )
        if "losses" not in losses:
            return None
        taken = {
            _run(trial): result.get("fingerprint")
            for trial, result in zip(trials, results[: len(trials)], strict=True)
            if "fingerprint" in result
        }
        with contextlib.suppress(ValidationError):
            return _Kept(
                name=known.name,
                losses=losses["losses"],
                squeezed=losses.get("squeezed", known.squeezed),
                fingerprints={**known.fingerprints, **taken},
            )
        return None

    def _path(self, shared: Trial) -> Path:
        return self._store.folder / "reference" / f"{shared.key}.json"

    # Both are looked up in files: once a run, and not once a trial.
    @functools.cached_property
    def _backend(self) -> Provided[Backend] | None:
        backends = self._plugins.backends.values()
        named = (one for one in backends if one.value.reference)
        usable = (one for one in named if one.call(lambda b: b.why_unavailable()) is None)
        return next(usable, None)

    @functools.cached_property
    def _versions(self) -> dict[str, str]:
        return {} if self._backend is None else self._backend.call(lambda b: b.versions())

    def _shared(self, ours: Trial) -> Trial:
        """Return the trial that stands for all of the same reference."""
        return ours.model_copy(update={"seed": 0, "repeat": 0, "max_epochs": 1, "bound": BOUND})


def _run(trial: Trial) -> str:
    """Return what tells the fingerprints of one reference apart; a short budget ends sooner."""
    last = min(trial.max_epochs, trial.recipe.evaluate_every)
    return f"seed {trial.seed}, {last} epochs"


def _read(path: Path) -> _Kept | None:
    """Return the reference in a file; None where it is missing or damaged, to be computed again."""
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
