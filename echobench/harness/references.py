"""The first losses that the parity gate compares with, computed once a cell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.harness import launch
from echobench.harness.sharing import POLL_S
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store, replace_file
from echobench.store.locks import FolderLocks
from echobench.trial.job import Job, Reference
from echobench.trial.trial import Trial


class References:
    """The references of trials, kept beside the records in `reference/KEY.json`."""

    def __init__(self, plugins: Plugins, store: Store) -> None:
        self._plugins = plugins
        self._store = store
        self._known: dict[str, Reference | None] = {}

    def get(
        self, trial: Trial, locks: FolderLocks, computing: Callable[[], None]
    ) -> Reference | None:
        """Return the first losses that a trial must reproduce; None without a reference backend.

        They come from the tutorial's program on the reference backend, whatever the trial's
        seed. Where several processes need them, one computes them.

        Args:
            trial: the trial.
            locks: of this process.
            computing: called before they are computed.

        Raises:
            OSError: they cannot be written.
        """
        reference_backend = self._backend()
        if reference_backend is None:
            return None
        backend, plugin = reference_backend
        trial = self._trial(trial, backend, plugin)
        if trial.key not in self._known:
            self._known[trial.key] = self._read_or_compute(trial, backend, locks, computing)
        return self._known[trial.key]

    def path(self, trial: Trial) -> Path | None:
        """Return the file of a trial's reference; None where no backend is the reference."""
        backend = self._backend()
        return None if backend is None else self._path(self._trial(trial, *backend))

    def _read_or_compute(
        self, trial: Trial, backend: Backend, locks: FolderLocks, computing: Callable[[], None]
    ) -> Reference | None:
        path, lock = self._path(trial), f"reference {trial.key}"
        kept = _read(path)
        if kept is None:
            computing()
            while not locks.acquire([lock]):
                time.sleep(POLL_S)
            try:
                kept = _read(path)  # another process may have computed it meanwhile
                if kept is None:
                    log = self._store.logs / f"reference-{trial.key}.log"
                    kept = _compute(trial, backend, log)
                    if kept is not None:
                        replace_file(path, kept.model_dump_json() + "\n")
            finally:
                locks.release([lock])
        return kept

    def _path(self, trial: Trial) -> Path:
        return self._store.folder / "reference" / f"{trial.key}.json"

    def _backend(self) -> tuple[Backend, str] | None:
        for provided in self._plugins.backends.values():
            if provided.value.reference and provided.value.why_unavailable() is None:
                return provided.value, provided.plugin
        return None

    def _trial(self, trial: Trial, backend: Backend, plugin: str) -> Trial:
        """Return the trial whose first losses a trial is compared with."""
        return trial.model_copy(
            update={
                "backend": backend.name,
                "engine": "fit",
                "seed": 0,
                "device": "cpu",
                "max_epochs": 1,
                "sustain": 0,
                "replicates": 0,
                "devices": 1,
                "cache": False,
                "quick": False,
                "plugins": sorted({self._plugins.tasks[trial.task].plugin, plugin}),
                "versions": {"echobench": trial.versions["echobench"], **backend.versions()},
            }
        )


def _compute(trial: Trial, backend: Backend, log: Path) -> Reference | None:
    """Return the first losses of the tutorial's program; None, with the reason in the log."""
    (result,) = launch.work(Job(kind="reference", trials=[trial]), backend, log)
    with contextlib.suppress(ValidationError):
        return Reference(name=f"{backend.name} {trial.engine}", losses=result.get("losses", ()))
    return None


def _read(path: Path) -> Reference | None:
    """Return the reference in a file; None where it is missing or damaged, to be computed again."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
