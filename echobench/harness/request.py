"""What a user asks for: which trials, and how they are run and recorded."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from echobench.harness.plan import Selection
from echobench.plugin.interfaces import LOCAL


class Options(BaseModel):
    """How trials are run and recorded, whichever they are.

    Attributes:
        results: folder of the records.
        plugin_files: plugins that are not installed.
        executor: where trials run: NAME or NAME[key=value,...].
        jobs: how many jobs the executor has under way at once; None for its own number, which is 1
            on this machine.
        address: of the executor, if it needs one.
        observers: names of observers to call for every trial.
        watch: whether to draw the learning on a terminal.
        save_models: folder for the trained networks, if wanted.
        tell_host: whether records keep the names of host and user.
        memory_limit: bytes that a worker and its child processes may hold.
        retries: how often a failed trial is run again.
        budget_s: seconds after which no trial is started.
        unchecked: whether certificates stay unjudged, and fingerprints uncompared.
    """

    model_config = ConfigDict(extra="forbid")

    results: Path = Path("results")
    plugin_files: list[Path] = []
    executor: str = LOCAL
    jobs: int | None = None
    address: str | None = None
    observers: list[str] = []
    watch: bool = False
    save_models: Path | None = None
    tell_host: bool = False
    memory_limit: int | None = None
    retries: int = 0
    budget_s: float | None = None
    unchecked: bool = False


class Request(Selection, Options):
    """What `echobench run` is asked for: which trials, and how they run.

    Attributes:
        auto: add seeds until each pair of cells is decided, whatever `seeds` says.
        force: run trials again that are done.
    """

    auto: bool = False
    force: bool = False
