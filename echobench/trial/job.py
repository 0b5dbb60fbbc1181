"""A job, and the messages of the worker that does it.

A job is the trials that one process makes, with all that any machine needs to make them. The
parent writes it to the worker's standard input. The worker writes events, lines of JSON, to a
pipe of its own, since frameworks print to stdout: `Progress` now and then, a `Result` for each
trial, and a `Failure` where it cannot go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from echobench.core import files
from echobench.core.task import Recipe
from echobench.text import file_name
from echobench.trial.cell import Cell, StoredRecipe
from echobench.trial.record import Sample
from echobench.trial.trial import Trial

PARITY_UPDATES = 20
"""Losses that the parity gate compares; twice as many where the state is carried further."""
PARITY_TOLERANCE = 1e-5
"""Largest relative difference of a loss. Float32 rounding was measured at up to
1.8e-6 over all first-party cells; an error in the mathematics shows at 1e-4 and more."""
SQUEEZED = {"warmup": 5, "decay": 9, "clip": 1e-3}
"""Fields of a recipe that a rehearsal replaces where they are not 0, so that the gate's updates
hold the whole schedule. Adam forgets the scale of gradients but for its epsilon: this clip makes
them so short that it matters, so that both show."""
KEY_DIGITS = 8
"""Digits of a trial's key in the name of its saved network."""
RESULT = "result"
"""Field of the result in the description of a saved network, beside those of its trial."""
UNSEEN = 10_000
"""Sequences that no trial draws, on which the judge estimates a network's error rate."""


def squeezed(recipe: Recipe) -> Recipe:
    """Return a recipe whose warm-up, decay and clipping all happen in the gate's updates."""
    changes = {name: value for name, value in SQUEEZED.items() if getattr(recipe, name)}
    return recipe.model_copy(update=changes)


def needs_rehearsal(recipe: Recipe | StoredRecipe) -> bool:
    """Return whether the gate sees less of a recipe than of its squeezed one."""
    return any(getattr(recipe, name) not in {0, value} for name, value in SQUEEZED.items())


class Reference(BaseModel):
    """The first losses of the reference implementation, for the parity gate."""

    name: str
    losses: list[float]


class Rehearsal(BaseModel):
    """The parity gate of a cell's squeezed recipe, which it passes once.

    Attributes:
        losses: of the reference; empty if they are not finite.
        passed: the largest relative difference where the cell has passed already.
    """

    losses: list[float] = []
    passed: float | None = None


class Inference(BaseModel):
    """A saved network (a .keras file) to run.

    Attributes:
        batches: numbers of samples for which a call is timed.
        answers: the .npy file that takes the answers to fresh sequences,
            integers [sequences, samples, n_out], `MISSING` where none was asked for.
    """

    model: str
    batches: list[int]
    answers: str


class Heard(BaseModel):
    """A sample, `MISSING` where it has no token, that a saved network (.keras file) is to echo."""

    model: str
    tokens: list[int]


class Judged(BaseModel):
    """A certificate to judge.

    Attributes:
        weights: the .npz file of the network's weights, in the order of the program.
        attempt, sequences: number and size of the attempt that certified it.
    """

    weights: str
    attempt: int
    sequences: int


class JobOptions(BaseModel):
    """How the jobs of a run are made, whichever trials they hold.

    Attributes:
        command: echobench's own command line, for the records.
        about: further provenance of the records.
        watch: whether the worker reports each evaluation as it makes it.
        memory_limit: bytes that a worker and its child processes may hold; None for no limit.
        retries: how often a trial that failed is run again, before those that its process left.
        save_models: folder for the trained networks, if wanted.
        smoke: whether nothing is measured: a worker trains the cells of a backend in turn, compiles
            their programs in little time, however slow they run, and does not time the machine.
    """

    command: list[str] = []
    about: dict[str, Any] = {}
    watch: bool = False
    memory_limit: int | None = None
    retries: int = 0
    save_models: Path | None = None
    smoke: bool = False

    def model_path(self, trial: Trial) -> Path | None:
        """Return the .keras file for a trial's network, if networks are saved.

        Its name ends with the beginning of the trial's key: no other trial's network has it.
        """
        if self.save_models is None:
            return None
        name = file_name(trial.name.replace(" seed ", "-seed"))
        return self.save_models.resolve() / f"{name}-{trial.key[:KEY_DIGITS]}.keras"


class Job(JobOptions):
    """The trials that one process makes: in turn, or together where they are replicates.

    Attributes:
        trials: of one cell; they differ in their seeds. Those of a reference are of cells of one
            task, those of a smoke run of cells of one backend and engine.
        kind: `train` makes records; the others run one worker for the first trial's task and
            backend: the reference's first losses of each cell, then the fingerprints of its
            trials; a rehearsal, of which the first losses are the result; a judge of the trials'
            certificates; a saved network that predicts or echoes; a check of the conformance kit.
        references: first losses that the parity gate compares with, by the trial's key; a trial
            without skips the gate.
        rehearsal: of the trials' cell; None where its recipe needs none, or it is not checked. A
            reference that has one finds its losses.
        judge: the trial on the reference backend whose worker judges certificates, whatever its
            seed; None leaves them unjudged.
        networks: folder that takes the weights of certified networks, NUMBER.npz by the trial's
            number in the job.
        judged: the certificates that a judge is to judge, one for each trial.
        cache: folder of compiled programs, where the trials may use one.
        sources: of each plugin that is a file (`Provided.plugin`), the text of this file and of
            the modules beside that it imports, by their paths below its folder.
        data: the content of each file that the task's parameters name, by its identity.
        inference: of a job that predicts.
        heard: of a job that echoes.
        probe: name of a check in `echobench.worker.probes`.
        recipes: by division, for a probe of several.
        budget_s: seconds since its start in which the process begins a trial; None for no limit.
        begin_by: the same as a time (Unix), which another machine keeps to: there a job may start
            long after it was handed over.
        cores: logical cores that the job's workers keep to; None before they are reserved, and
            where the system cannot keep a process to cores.
    """

    # A file need not be UTF-8.
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    trials: list[Trial] = Field(min_length=1)
    kind: Literal["train", "reference", "rehearsal", "judge", "predict", "echo", "probe"] = "train"
    references: dict[str, Reference] = {}
    rehearsal: Rehearsal | None = None
    judge: Trial | None = None
    networks: Path | None = None
    judged: list[Judged] = []
    cache: Path | None = None
    sources: dict[str, dict[str, bytes]] = {}
    data: dict[str, bytes] = {}
    inference: Inference | None = None
    heard: Heard | None = None
    probe: str | None = None
    recipes: dict[str, Recipe] = {}
    budget_s: float | None = None
    begin_by: float | None = None
    cores: list[int] | None = None

    @model_validator(mode="after")
    def _take_data(self) -> Job:
        """Take the files along, which a worker need not see, or make those known that came."""
        files.provide(self.data)
        if not self.data:
            for trial in self.trials:
                self.data |= files.named(trial.parameters)
        return self

    @property
    def trial(self) -> Trial:
        """Return the first trial, whose backend is that of all."""
        return self.trials[0]

    def reference(self, trial: Trial) -> Reference | None:
        """Return what the parity gate compares a trial with; None skips the gate."""
        return self.references.get(trial.key)

    @property
    def together(self) -> bool:
        """Whether the trials are replicates, trained in one program."""
        return self.trial.replicates > 0

    @property
    def in_turn(self) -> bool:
        """Whether the trials are trained one after the other in the process."""
        return self.kind == "train" and not self.together

    @property
    def cells(self) -> list[list[Trial]]:
        """Return the trials of each cell, which may differ in their budgets too."""
        cells: dict[Cell, list[Trial]] = defaultdict(list)
        for trial in self.trials:
            cells[Cell.of(trial).without("max_epochs", "bound")].append(trial)
        return [*cells.values()]

    @property
    def results(self) -> int:
        """Return how many results the worker reports."""
        counts = {"train": len(self.trials)}
        if self.kind == "reference":
            return len(self.cells) + len(self.trials)
        return counts.get(self.kind, 1)

    @property
    def limit_s(self) -> float:
        """Return the wall time that the process has at most, in seconds."""
        turns = 1 if self.together else self.results
        return turns * self.trial.timeout_s

    @property
    def turn_limit_s(self) -> float:
        """Return the wall time that the process has for its next result, in seconds."""
        return self.trial.timeout_s if self.in_turn else self.limit_s

    def trial_of(self, progress: Progress) -> Trial:
        """Return the trial that a progress is of."""
        return self.trials[min(progress.place, len(self.trials) - 1)]


class Look(BaseModel):
    """An evaluation of a trial that is watched, on fresh sequences.

    The loss is that of the last epoch. The samples are the same few at each evaluation, as the
    network echoes them now.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    updates: int
    train_s: float
    loss: float
    accuracy: float
    exact_match: float
    samples: list[Sample]


LONGEST_TURNS_S = 60.0
"""Seconds after which a process takes no further turn: the records of its trials are stored as it
ends, and where trials are long, starting anew costs little."""
LEAVES = "leaving the rest"
"""Phase in which a worker takes no further turn, before it ends."""
ATTEMPT = "attempt"
"""First word of the phase in which a job begins again."""


class Progress(BaseModel):
    """How far a trial is; with a `look` at each evaluation where it is watched.

    The trial is the one in this `place` of its job.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    event: Literal["progress"] = "progress"
    phase: str = Field(pattern=r"^[a-z0-9 ]{1,40}$")
    place: int = Field(default=0, ge=0, lt=2**53)
    epoch: int = Field(default=0, ge=0, lt=2**53)
    accuracy: float | None = None
    seconds_per_epoch: float | None = None
    look: Look | None = None

    @property
    def waits(self) -> bool:
        """Whether the job has not begun, since others use the cores."""
        return self.phase.startswith("waiting")

    @property
    def begins_again(self) -> bool:
        """Whether the trial begins again: its worker failed, or was lost with its machine."""
        return self.phase.startswith(f"{ATTEMPT} ")


Report = Callable[[Progress], None]
"""A function that takes the progress of a job."""


class Result(BaseModel):
    """The result of a trial, or of a job of another kind: fields of a record or of an answer."""

    # Written as null, a NaN would pass for a figure that was not measured.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    event: Literal["result"] = "result"
    fields: dict[str, Any]


class Failure(BaseModel):
    """Why the job's remaining trials have no result, in one line; `status` is the records'."""

    event: Literal["failure"] = "failure"
    status: Literal["failed", "unsupported", "unavailable"]
    reason: str


Event = Annotated[Progress | Result | Failure, Field(discriminator="event")]
EVENT: TypeAdapter[Progress | Result | Failure] = TypeAdapter(Event)
