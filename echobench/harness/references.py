"""What trials are compared with: first losses and fingerprints of the reference.

A plugin may ship those of its tasks; others are computed once, those of all planned cells of a task
in one worker. And the rehearsals that cells have passed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.harness import launch, shipped
from echobench.harness.sharing import POLL_S
from echobench.harness.shipped import Kept, Shipped, read, shipped_key
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


class References:
    """The references of trials, kept beside the records in `reference/KEY.json`.

    Args:
        plugins: where the reference backend is.
        store: keeps the references beside its records.
        fingerprints: whether trials are compared by their fingerprints too.
        shipped: whether what plugins ship is used.
    """

    def __init__(
        self,
        plugins: Plugins,
        store: Store,
        *,
        fingerprints: bool = True,
        shipped: bool = True,
    ) -> None:
        self._plugins = plugins
        self._store = store
        self._fingerprints = fingerprints
        self._uses_shipped = shipped
        self._cells: dict[str, Trial] = {}
        self._planned: dict[str, dict[str, Trial]] = defaultdict(dict)
        self._rehearsed: set[str] = set()
        self._passes: dict[Path, Rehearsal] = {}
        """The rehearsals that cells have passed in this run, by the file that keeps each."""
        self._known: dict[str, Kept | None] = {}
        self._tried: set[str] = set()
        self._files: dict[Path | None, dict[str, Shipped]] = {}
        self.spent: dict[str, float] = {}
        """How many seconds workers have computed in this run, `reference_s`; empty if none has."""

    @property
    def installed(self) -> bool:
        """Whether there is a reference backend, and so something to compare trials with."""
        return self._backend is not None

    def plan(self, trials: Iterable[Trial]) -> None:
        """Take note of trials: what they are compared with is computed together."""
        for trial in trials:
            ours = self.of(trial)
            if ours is None:
                return
            shared = self._shared(ours)
            key = shared.key
            self._cells.setdefault(key, shared)
            if self._fingerprints and not trial.quick:
                self._planned[key].setdefault(run_of(ours), ours)
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
            kept = self._known[shared.key] = self._looked_up(shared)
            if self._is_wanted(shared):
                computing()
                kept = self._computed(shared, locks, report)
        return None if kept is None else Reference(name=kept.name, losses=kept.losses)

    def kept(self, trial: Trial) -> tuple[Trial, Kept] | None:
        """Return the trial that stands for a trial's cell on the reference, and what is known.

        None before `get` has returned something of this cell.
        """
        ours = self.of(trial)
        shared = None if ours is None else self._shared(ours)
        kept = None if shared is None else self._known.get(shared.key)
        return None if shared is None or kept is None else (shared, kept)

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
        path = self._passed(trial)
        try:
            found = self._passes.get(path) or Rehearsal.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        passed = found.passed
        holds = passed is not None and 0 <= passed <= PARITY_TOLERANCE and found.losses == losses
        return passed if holds else None

    def keep(self, job: Job, records: Iterable[Record]) -> None:
        """Keep that a job's cell has passed its rehearsal, if it did.

        That it cannot be written costs no record: it is said, and the next run rehearses again.
        """
        if job.rehearsal is None or job.rehearsal.passed is not None:
            return
        found = next((r.parity.squeezed for r in records if r.parity is not None), None)
        if found is not None and found <= PARITY_TOLERANCE:
            path = self._passed(job.trial)
            passed = job.rehearsal.model_copy(update={"passed": found})
            self._passes[path] = passed
            try:
                replace_file(path, passed.model_dump_json() + "\n")
            except OSError as error:
                say(f"{path}: the rehearsal is not kept: {error.strerror}")

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
        theirs = None if kept is None else kept.fingerprints.get(run_of(ours))
        if kept is not None and theirs is not None and theirs.epoch == taken.epoch:
            record.fingerprint = taken.beside(kept.name, theirs.loss, theirs.accuracy)

    def path(self, trial: Trial) -> Path | None:
        """Return the file of a trial's reference; None where no backend is the reference."""
        ours = self.of(trial)
        return None if ours is None else self._path(self._shared(ours))

    def lacks(self, trial: Trial) -> bool:
        """Return whether a worker must compute something that a trial is compared with."""
        ours = self.of(trial)
        return ours is not None and self._is_wanted(self._shared(ours))

    def has_rehearsed(self, trial: Trial) -> bool:
        """Return whether a trial's cell needs no rehearsal, or has passed one."""
        return not needs_rehearsal(trial.recipe) or self._passed(trial).exists()

    def _missing(self, shared: Trial, kept: Kept | None) -> list[Trial]:
        """Return the planned trials whose fingerprints are not kept."""
        known = {} if kept is None else kept.fingerprints
        planned = self._planned[shared.key].items()
        return [trial for run, trial in planned if run not in known]

    def _is_wanted(self, shared: Trial) -> bool:
        kept = self._looked_up(shared)
        return kept is None or self._lacks(shared, kept)

    def _lacks(self, shared: Trial, kept: Kept) -> bool:
        """Return whether something that planned trials are compared with is not kept."""
        unrehearsed = shared.key in self._rehearsed and kept.squeezed is None
        return unrehearsed or bool(self._missing(shared, kept))

    def _looked_up(self, shared: Trial) -> Kept | None:
        """Return what is kept of a cell, or shipped where this is more."""
        kept = read(self._path(shared))
        if kept is not None and not self._lacks(shared, kept):
            return kept
        brought = self._brought(shared) if self._uses_shipped else None
        if kept is None or (brought is not None and not self._lacks(shared, brought)):
            return brought
        return kept

    def _brought(self, shared: Trial) -> Kept | None:
        """Return what the task's plugin ships of a cell."""
        path = shipped.path_of(self._plugins.tasks[shared.task])
        if path not in self._files:
            self._files[path] = shipped.read_shipped(path)
        found = self._files[path].get(shipped_key(shared))
        # A stranger's may be of another program than the one that is the reference here.
        return found if found is not None and found.name == _name(shared) else None

    def _computed(self, shared: Trial, locks: FolderLocks, report: Report) -> Kept | None:
        """Compute what a cell lacks, and with it what others of its task do."""
        while not locks.acquire([_lock(shared)]):
            time.sleep(POLL_S)
        held = [shared]
        try:
            # Another process may have computed it meanwhile.
            self._known[shared.key] = self._looked_up(shared)
            if self._is_wanted(shared):
                for other in self._companions(shared):
                    if locks.acquire([_lock(other)]):
                        held.append(other)
                        self._tried.add(other.key)
                self._compute([cell for cell in held if self._is_wanted(cell)], report)
            return self._give_up(shared)
        finally:
            locks.release(map(_lock, held))

    def _companions(self, shared: Trial) -> list[Trial]:
        """Return the planned cells of the same task, of which nothing is known and none failed."""
        return [
            other
            for key, other in self._cells.items()
            if (other.task, other.plugins) == (shared.task, shared.plugins)
            and not (key == shared.key or key in self._known or key in self._tried)
        ]

    def _give_up(self, shared: Trial) -> Kept | None:
        """Return what is known of a cell; what it lacks is not tried again in this run."""
        kept = self._known[shared.key]
        if kept is None:
            return None
        # Losses that are known still gate. A copy: what is shipped or kept says nothing of this.
        lacking = dict.fromkeys(map(run_of, self._missing(shared, kept)))
        changes: dict[str, Any] = {"fingerprints": {**kept.fingerprints, **lacking}}
        if shared.key in self._rehearsed:
            changes["squeezed"] = kept.squeezed or []
        self._known[shared.key] = kept.model_copy(update=changes)
        return self._known[shared.key]

    def _compute(self, cells: Sequence[Trial], report: Report) -> None:
        """Add to what is kept of cells what the reference finds in one worker, if it finds it.

        The reason why not is said of the first cell alone: the others have a turn of their own.
        """
        assert self._backend is not None  # there are trials on it
        first = cells[0]
        log = self._store.logs / f"reference-{first.key}.log"
        asked = {}
        rehearsed = False
        for cell in cells:
            kept = self._looked_up(cell)
            asked[cell.key] = self._missing(cell, kept) or [cell]
            rehearsed |= cell.key in self._rehearsed and (kept is None or kept.squeezed is None)
        job = Job(
            kind="reference",
            trials=[trial for trials in asked.values() for trial in trials],
            rehearsal=Rehearsal() if rehearsed else None,
        )
        results = iter(launch.work(job, self._backend.value, log, report, spent=self.spent))
        for cell in cells:
            losses, *taken = itertools.islice(results, 1 + len(asked[cell.key]))
            reason = next((one["reason"] for one in (losses, *taken) if "reason" in one), None)
            if reason is not None and cell is first:
                say(
                    f"reference {_name(cell)} of {cell.label}: {plain(reason)}; its trials here "
                    f"are not compared with it, or not wholly: see {log}"
                )
            kept = self._joined(cell, losses, zip(asked[cell.key], taken, strict=True))
            if kept is not None:
                replace_file(self._path(cell), kept.model_dump_json() + "\n")
                self._known[cell.key] = kept

    def _joined(
        self, cell: Trial, losses: dict[str, Any], taken: Iterable[tuple[Trial, dict[str, Any]]]
    ) -> Kept | None:
        """Return what a worker found, beside what is kept of the cell; None without losses."""
        if "losses" not in losses:
            return None
        known = self._looked_up(cell) or Kept(name=_name(cell), losses=[])
        fingerprints = {
            run_of(trial): result["fingerprint"]
            for trial, result in taken
            if trial is not cell and "fingerprint" in result
        }
        with contextlib.suppress(ValidationError):
            return Kept(
                name=known.name,
                losses=losses["losses"],
                squeezed=losses.get("squeezed", known.squeezed),
                fingerprints={**known.fingerprints, **fingerprints},
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
        return ours.model_copy(
            update={"seed": 0, "repeat": 0, "max_epochs": 1, "bound": BOUND, "side_by_side": 1}
        )


def run_of(trial: Trial) -> str:
    """Return what tells the fingerprints of one reference apart; a short budget ends sooner."""
    last = min(trial.max_epochs, trial.recipe.evaluate_every)
    return f"seed {trial.seed}, {last} epochs"


def _name(shared: Trial) -> str:
    return f"{shared.backend} {shared.engine}"


def _lock(shared: Trial) -> str:
    return f"reference {shared.key}"
