"""The record of a trial, and the record of a prediction: each self-contained, one JSON line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from echobench.core import target
from echobench.trial.cell import (
    LARGEST_FLOAT,
    LARGEST_INTEGER,
    Cell,
    Finite,
    StoredRecipe,
    StoredTrial,
    Whole,
    joined,
)

NOT_FINITE = re.compile(r"`float` [<>]= -?1\.7976931348623157e\+308")
SCHEMA_VERSION = 8
"""2 added calibration, disturbances, FLOPs and updates; 3 whether a hit lasts, and the wall time
to it; 4 an echo at some of the evaluations; 5 certificates that count their attempts, and
why a share of the limit is empty; 6 the sources of both plugins of a trial,
hyperthreads, what limits a machine, and what identifies one whose processor nobody knows; 7
certificates of a whole test set; 8 the process that trained it, and jobs side by side. Older
records load, these empty.
`record.schema.json` beside this file is the JSON Schema of this version."""
PREDICTION_SCHEMA_VERSION = 1
LEAST_CLOCK_SHARE, MOST_CLOCK_SHARE = 0.6, 5.0
"""Of a control's processor time, that training takes on the clock: engines take 0.73 and more, and
seldom more than 1.5; far more has a control that was not trained."""
LOSS_TOLERANCE, ACCURACY_TOLERANCE = 1e-4, 0.005
"""How far a fingerprint may be from the reference's: the loss relative to it, the accuracy as it
is. Over the records of `results/` backends differ by up to 4e-6 and 0, seeds by 1e-2."""
MOST_ROUNDING = 0.01
"""Share of a test set that may be wrong by rounding; one sequence may be in any case. Weights of
zeros answer each token alike: all of their errors are ties, which look like rounding."""
Status = Literal["reached", "missed", "failed", "timeout", "unavailable", "unsupported"]
COUNTED = ("reached", "missed", "timeout")
"""Statuses of trials that trained: their figures count."""
Positive = Annotated[float, Meta(gt=0, le=LARGEST_FLOAT)]


USUAL_SYSTEM = "Linux"
SPELLED = {"x86_64": "", "AMD64": "", "amd64": "", "aarch64": "arm64"}
"""Architectures as a class of machines spells them: the usual one not at all."""


def is_unknown(name: str) -> bool:
    """Return whether a processor's name is none: `lscpu` prints a dash."""
    return name.strip().lower() in {"", "-", "none", "null", "unknown"}


class Machine(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A computer; `gpus` by name.

    Attributes:
        cores: logical ones that its processes could use.
        quota: how many cores' time they could use, if that was less.
        memory_limit_bytes: what they could hold together, if that was less than its memory.
        identity: a digest by which it is known again, where nobody knows its processor's name.
    """

    cpu: str | None = None
    architecture: str | None = None
    system: str | None = None
    cores: Whole | None = None
    gpus: tuple[str, ...] | UnsetType = UNSET
    memory_bytes: Whole | None = None
    quota: Positive | UnsetType = UNSET
    memory_limit_bytes: Whole | UnsetType = UNSET
    python: str | None = None
    identity: str | UnsetType = UNSET

    @property
    def kind(self) -> str:
        """Return what makes two machines comparable: processor, usable cores, limits, GPUs.

        The architecture and the system are named where they are not the usual ones: a processor
        may run programs of two. A machine with an unknown processor is only like itself.
        """
        counted = "1 core" if self.cores == 1 else f"{self.cores} cores"
        architecture, system = self.architecture or "", (self.system or "").partition(" ")[0]
        unusual = [SPELLED.get(architecture, architecture), system.removeprefix(USUAL_SYSTEM)]
        known = [self._processor, counted, *self._limits(), *(self.gpus or ())]
        return ", ".join([*known, *filter(None, unusual)])

    @property
    def _processor(self) -> str:
        if self.cpu is not None and not is_unknown(self.cpu):
            return self.cpu
        # Older records do not say which machine it is.
        memory = self.memory_bytes and f"{self.memory_bytes} bytes"
        known = [self.identity] if self.identity else [*filter(None, [self.system, memory])]
        return " ".join(["unknown processor", *known]) if known else f"{self.cpu}"

    def _limits(self) -> Iterator[str]:
        """Describe what a control group leaves of the machine, if that is not all."""
        if self.quota:
            yield f"quota {self.quota:.3g}"
        if self.memory_limit_bytes:
            yield f"memory {self.memory_limit_bytes / 2**30:.3g} GiB"


class Git(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The checkout that echobench ran from; `dirty` is None if git does not say."""

    commit: str
    dirty: bool | None = False


class Rates(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A calibration, as `echobench.machine.calibration` returns it.

    One without `threads` is of an earlier version, which took the best of seven products.
    """

    matmul_flops_per_s: Positive
    copy_bytes_per_s: Positive | UnsetType = UNSET
    matmul_spread: Positive
    frequency_mhz: Finite | UnsetType | None = UNSET
    threads: Whole | UnsetType = UNSET
    thread_flops_per_s: Positive | UnsetType = UNSET
    core_share: Finite | UnsetType = UNSET


class Process(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The worker's process that trained a trial.

    Attributes:
        id: the same for all trials of the process, and for no others.
        place: how many trials it had trained before; 0 for replicates, which train together.
    """

    id: str
    place: Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]


class Provenance(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How and where a trial ran. Unknown fields are left out of the line.

    Attributes:
        command: the command line.
        machine, git: where it ran, and from which checkout.
        process: the worker that trained it; None where none was started, and of older records,
            whose trials had a process each.
        job: in the record of a job's first trial, the number of its `trials`, and the seconds that
            it took beside them: `reference_s`, `rehearsal_s`, `judge_s`, and `other_s` for starting
            and ending its process.
        cores: reserved for its workers, where the system can keep a process to cores.
        unlocked: why other jobs might use these cores too.
        granted: of a run on GPUs, the variables that said which of them were its own.
        load_before, load_after: processes that ran or waited, mean of a minute.
        steal_fraction: share of the processors that other virtual machines took.
        memory_limit_bytes: of the worker.
        versions: of echobench, Keras and the framework.
        calibration: the machine's rates `before` and `after`.
        execution: the backend's description of how it ran the trial, with keys of its own;
            `path` on disk.
        after_result: how a worker failed after it had reported its result.
        cache: number of files of kept compiled programs: `found` before, and `added` while the
            process ran, by whichever process of the folder.
        seeds, search: by which rule the seeds were chosen, and by which search the recipe.
        host, user: names of the machine and its user, if asked for.
        executor: name and node, and each loss of the job (`lost`).
        attempts: status, reason and wall time of each, if there were several.
    """

    command: list[str] | None = None
    machine: Machine | None = None
    git: Git | UnsetType | None = UNSET
    process: Process | None = None
    job: dict[str, Finite] | None = None
    cores: list[Whole] | None = None
    unlocked: str | None = None
    granted: dict[str, str] | None = None
    load_before: Finite | None = None
    memory_limit_bytes: Whole | None = None
    steal_fraction: Finite | UnsetType | None = UNSET
    load_after: Finite | None = None
    versions: dict[str, str] | None = None
    calibration: dict[str, Rates | None] | None = None
    execution: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="path")
    after_result: str | None = None
    cache: dict[str, Any] | None = None
    seeds: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    host: str | None = None
    user: str | None = None
    executor: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] | None = None


class Parity(Struct, kw_only=True):
    """The parity gate: first losses against the reference implementation.

    Attributes:
        passed: whether both agree, and so in the rehearsal; None without a reference.
        reference: its name.
        updates, tolerance, largest_difference: of the losses of the trial's own program.
        squeezed: the largest difference in the rehearsal, with the squeezed recipe; None where
            the recipe needs none.
        failure: why the rehearsal gave no losses.
    """

    passed: bool | None
    reference: str | None = None
    updates: Whole = 0
    tolerance: Finite | None = None
    largest_difference: Finite | None = None
    squeezed: Finite | None = None
    failure: str | None = None

    @property
    def difference(self) -> str:
        """Return in words how the losses differ."""
        own, tolerance, where = self.largest_difference, self.tolerance, ""
        if self.failure is not None:
            return f"the rehearsal of the squeezed recipe gave no losses: {self.failure}"
        if own is None or tolerance is None:
            return f"first losses differ from {self.reference}"
        if own <= tolerance and self.squeezed is not None:
            own, where = self.squeezed, ", with warm-up, decay and clipping squeezed into them"
        return (
            f"first losses differ from {self.reference} by {own:.1e}, more than "
            f"{tolerance:.0e}{where}"
        )


@dataclass(slots=True)  # read by msgspec in records and by pydantic in messages
class Sample:
    """One sample of a new sequence, decoded; None where nothing is asked for."""

    expected: list[Whole | str | None]
    predicted: list[Whole | str | None]


class Recompilations(Struct, kw_only=True, gc=False):
    """Dispatches that compiled while the clock ran, and about how many of its seconds it took."""

    times: Whole
    seconds: Finite


INTERRUPTED = "interrupted"
"""Why there is no judgement, until the judge has answered."""


class Judgement(Struct, kw_only=True):
    """What the judge found, who ran the trial's network in plain Keras.

    Attributes:
        by: the judge.
        certificate_wrong: sequences of the certificate that it answers wrong, beyond rounding.
        certificate_rounding: those that it answers wrong by rounding.
        sequences, wrong: unseen sequences, and those that it answers wrong: an unselected sample
            of the network's errors. Of a trial with a test set: all of this.
        interval: of the error rate, exact, at 95%; none of a test set, which is no sample.
        weights_sha256: digest of the weights, from which the unseen sequences are drawn.
        refuted: why the certificate does not hold; None where it does.
        failure: why there is no judgement.
    """

    by: str
    certificate_wrong: Whole | None = None
    certificate_rounding: Whole | None = None
    sequences: Whole = 0
    wrong: Whole | None = None
    interval: tuple[Finite, Finite] | None = None
    weights_sha256: str | None = None
    refuted: str | None = None
    failure: str | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the run was interrupted while the judge was at work."""
        return self.failure == INTERRUPTED

    def refutation(self, trial: StoredTrial) -> str | None:
        """Return why the trial's certificate does not hold, by what the judge counted."""
        if self.certificate_wrong:
            return f"{self.certificate_wrong:,} sequences of the certificate come out wrong"
        rounding = self.certificate_rounding or 0
        if trial.test_set and rounding > max(1, MOST_ROUNDING * self.sequences):
            return (
                f"{rounding:,} of {self.sequences:,} sequences of the test set come out wrong by "
                "rounding, more than rounding does"
            )
        bound = trial.bound
        if bound and self.wrong is not None and target.excludes(self.wrong, self.sequences, bound):
            return (
                f"{self.wrong:,} of {self.sequences:,} unseen sequences come out wrong, which "
                f"excludes the bound of {bound:g}"
            )
        return None


class Fingerprint(Struct, kw_only=True, frozen=True):
    """Loss and accuracy early in training, beside the reference's of the same seed.

    Attributes:
        epoch: of the fingerprint; see `echobench.core.training.TakenFingerprint`.
        loss, accuracy: the trial's; the accuracy is empty where no evaluation was at that epoch.
        reference: who trained the same seed.
        reference_loss, reference_accuracy: what it found.
        passed: whether both are the same within rounding; None without a reference.
    """

    epoch: Whole
    loss: Finite
    accuracy: Finite | None = None
    reference: str | None = None
    reference_loss: Finite | None = None
    reference_accuracy: Finite | None = None
    passed: bool | None = None

    def beside(self, reference: str, loss: float, accuracy: float | None) -> Fingerprint:
        """Return it beside what the reference found in the same epoch, with the verdict."""
        found = msgspec.structs.replace(
            self, reference=reference, reference_loss=loss, reference_accuracy=accuracy
        )
        return msgspec.structs.replace(found, passed=found.difference is None)

    @property
    def difference(self) -> str | None:
        """Return how it differs from the reference's beyond rounding; None if it does not."""
        if self.reference_loss is None:
            return None
        if abs(self.loss - self.reference_loss) > LOSS_TOLERANCE * abs(self.reference_loss):
            ours, theirs, name = self.loss, self.reference_loss, "loss"
        elif self.accuracy is None or self.reference_accuracy is None:
            return None
        elif abs(self.accuracy - self.reference_accuracy) > ACCURACY_TOLERANCE:
            ours, theirs, name = self.accuracy, self.reference_accuracy, "accuracy"
        else:
            return None
        return f"{name} {ours:.6g} in epoch {self.epoch}, where {self.reference} has {theirs:.6g}"


class Certification(Struct, kw_only=True, gc=False):
    """An attempt at a certificate: the sequences answered, the last block with `wrong` ones."""

    epoch: Whole
    sequences: Whole
    wrong: Whole


class EvaluationPoint(Struct, kw_only=True, gc=False):
    """The network at one evaluation, on fresh sequences; replicates have no times.

    `sample` is one of these sequences' samples, at some of a trial's evaluations. A loss that is
    not finite is None; a trial that has one before its hit ends there.
    """

    epoch: Whole
    train_s: Finite | None
    loss: Finite | None
    accuracy: Finite
    exact_match: Finite
    sample: Sample | None = None


AnyLine = TypeVar("AnyLine", bound="JsonLine")


class JsonLine(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A line of a file of records.

    Attributes:
        beyond: fields of the trial and the provenance that this version does not know, nested
            as in the line. They are written as they were read.
    """

    if TYPE_CHECKING:  # each kind of line has them, at their own place among its fields
        schema_version: int
        trial: StoredTrial
        provenance: Provenance = Provenance()
    beyond: dict[str, Any] | UnsetType = UNSET

    @property
    def machine_class(self) -> str:
        """Return what its machine shares with those it may be compared with."""
        return (self.provenance.machine or Machine()).kind

    @property
    def execution(self) -> dict[str, Any]:
        """Return the backend's description of how it ran the trial."""
        return self.provenance.execution or {}

    @classmethod
    def from_dict(cls: type[AnyLine], fields: dict[str, Any]) -> AnyLine:
        """Return the line with these fields, as JSON has them.

        Raises:
            msgspec.ValidationError: they are not such a line.
        """
        if "beyond" in fields:
            raise msgspec.ValidationError("Object contains unknown field `beyond`")
        known, beyond = _split(JsonLine, fields)
        try:
            line = msgspec.convert(known, cls)
        except msgspec.ValidationError as error:
            # msgspec names the bound that a NaN or an infinity breaks.
            message = NOT_FINITE.sub("a finite number", str(error))
            raise msgspec.ValidationError(message) from error
        if beyond:
            line.beyond = beyond
        return line

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the line, as `from_dict` takes them."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        beyond = fields.pop("beyond", None)
        return _joined(fields, beyond) if beyond else fields

    def to_json(self) -> str:
        """Return the line, without a newline."""
        return msgspec.json.encode(self if self.beyond is UNSET else self.to_dict()).decode()

    def trial_fields(self) -> dict[str, Any]:
        """Return all fields of the trial, those that this version does not know too."""
        beyond = {} if self.beyond is UNSET else self.beyond.get("trial", {})
        return _joined(msgspec.to_builtins(self.trial), beyond)


def _split(kind: type[Struct], fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that a struct and its parts know, and the others."""
    known, beyond = {}, {}
    names = kind.__struct_encode_fields__
    for name, value in fields.items():
        inner = WITHIN.get(kind, {}).get(name)
        if inner is Rates and isinstance(value, dict):  # `before` and `after`
            parts = {when: _split_rates(rates) for when, rates in value.items()}
            known[name] = {when: rates for when, (rates, _) in parts.items()}
            if others := {when: more for when, (_, more) in parts.items() if more}:
                beyond[name] = others
        elif inner is not None and isinstance(value, dict):
            known[name], others = _split(inner, value)
            if others:
                beyond[name] = others
        elif name in names or kind is JsonLine:  # a record by itself knows all of its fields
            known[name] = value
        else:
            beyond[name] = value
    return known, beyond


def _split_rates(rates: Any) -> tuple[Any, dict[str, Any]]:
    return _split(Rates, rates) if isinstance(rates, dict) else (rates, {})


def _joined(fields: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Add other fields at the ends of the objects to which they belong."""
    for name, value in others.items():
        inner = fields.get(name)
        fields[name] = _joined(inner, value) if isinstance(inner, dict) else value
    return fields


class Record(JsonLine, kw_only=True):
    """A trial and its result. Seconds are wall-clock; empty means not measured.

    The first fields are the table's columns, in its order; docs/method.md says
    what each means.
    """

    task: str
    backend: str
    engine: str
    division: str
    device: str
    seed: Whole
    status: Status
    reason: str | None = None
    time_to_target_s: Finite | None = None
    last_miss_s: Finite | None = None
    updates_to_target: Whole | None = None
    epochs_to_target: Whole | None = None
    seconds_per_update: Finite | None = None
    sequences_per_s: Finite | None = None
    accuracy: Finite | None = None
    exact_match: Finite | None = None
    certified_sequences: Whole | None = None
    error_bound: Finite | None = None
    accuracy_at_tutorial_epochs: Finite | None = None
    import_s: Finite | None = None
    build_s: Finite | None = None
    compile_s: Finite | None = None
    first_update_s: Finite | None = None
    train_s: Finite | None = None
    eval_s: Finite | None = None
    wall_s: Finite | None = None
    peak_memory_bytes: Whole | None = None
    limit_fraction: Finite | None = None
    started_at: str
    limit_reason: str | None = None

    schema_version: Whole = SCHEMA_VERSION
    key: str
    sustain_s: Finite | None = None
    other_s: Finite | None = None
    wall_to_target_s: Finite | None = None
    sustained_hit_s: Finite | None = None
    epochs: Whole | None = None
    updates: Whole | None = None
    first_lucky_epoch: Whole | None = None
    failed_certifications: Whole | None = None
    certifications: list[Certification] = msgspec.field(default_factory=list)
    diverged_epoch: Whole | None = None
    judge: Judgement | None = None
    fingerprint: Fingerprint | None = None
    clock_share: Finite | None = None
    recompilations: Recompilations | None = None
    seconds_per_update_quartiles: tuple[Finite, Finite] | None = None
    tokens_per_s: Finite | None = None
    flops_per_update: Whole | None = None
    parity: Parity | None = None
    evaluations: list[EvaluationPoint] = msgspec.field(default_factory=list)
    after_hit: list[EvaluationPoint] = msgspec.field(default_factory=list)
    samples: list[Sample] = msgspec.field(default_factory=list)
    trial: StoredTrial
    provenance: Provenance = msgspec.field(default_factory=Provenance)
    disturbances: list[str] = msgspec.field(default_factory=list)
    log_tail: list[str] = msgspec.field(default_factory=list)

    @property
    def cell(self) -> Cell:
        """Return what the trial shares with the others of its row: see `cells_of`."""
        beyond = self.beyond.get("trial") if self.beyond else None
        return Cell.of(self.trial, self.execution, beyond)

    @property
    def planned_cell(self) -> Cell:
        """Return the cell without the way in which the trial ran, as it was planned."""
        return Cell.of(self.trial, beyond=self.beyond.get("trial") if self.beyond else None)

    @property
    def contradiction(self) -> str | None:
        """Return what contradicts the trial, so that its figures do not count; None if nothing."""
        taken = self.fingerprint
        if self.parity is not None and self.parity.passed is False:
            return f"parity gate: {self.parity.difference}"
        if taken is not None and taken.passed is False:
            return f"fingerprint: {taken.difference}; it was not trained as stated"
        if self.judge is not None and self.judge.refuted is not None:
            return f"judge: {self.judge.refuted}"
        if self.clock_share is not None and self.clock_share < LEAST_CLOCK_SHARE:
            return (
                f"clock: an update took {self.clock_share:.0%} of the processor time that it takes "
                "on rows that nobody can foresee; the rest was done off the clock"
            )
        if self.clock_share is not None and self.clock_share > MOST_CLOCK_SHARE:
            return (
                f"clock: an update took {self.clock_share:.1f} times the processor time that it "
                "takes on rows that nobody can foresee; on these it was not trained"
            )
        return None

    @property
    def recompiled(self) -> str | None:
        """Return in words that it compiled again while the clock ran; None if it did not.

        None of a smoke run, whose clock measures nothing.
        """
        found, trained = self.recompilations, [self.first_update_s, self.train_s]
        if found is None or not found.times or self.trial.quick:
            return None
        times = "once" if found.times == 1 else f"{found.times} times"
        return (
            f"compiled again during training {times}, about {found.seconds:.2g} s of "
            f"{sum(seconds or 0.0 for seconds in trained):.2g} s"
        )

    @property
    def early(self) -> Fingerprint | None:
        """Return its fingerprint; of older records, their first evaluation, if its loss is finite.

        That may be so late that rounding has grown.
        """
        first = next(iter(self.evaluations), None)
        if self.fingerprint is not None or first is None or first.loss is None:
            return self.fingerprint
        return Fingerprint(epoch=first.epoch, loss=first.loss, accuracy=first.accuracy)

    @property
    def unchecked(self) -> bool:
        """Whether the parity gate compared it with no reference, or not wholly."""
        return self.parity is not None and self.parity.passed is None

    @property
    def lacks_reference(self) -> bool:
        """Whether no reference gated it, though it may have one: not where its loss diverged."""
        return self.unchecked and self.diverged_epoch is None

    @property
    def uncompared(self) -> bool:
        """Whether it has a fingerprint that was not compared, and is no smoke run."""
        taken = self.fingerprint
        return taken is not None and taken.passed is None and not self.trial.quick

    @property
    def unjudged(self) -> bool:
        """Whether it has a certificate and no judgement, though this version judges such trials."""
        certified = self.status == "reached" and self.trial.is_judged and not self.trial.quick
        return certified and self.judged_wrong is None and self.contradiction is None

    @property
    def judged_wrong(self) -> int | None:
        """Return how many of `judged_sequences` unseen sequences the judge found answered wrong."""
        return None if self.judge is None else self.judge.wrong

    @property
    def judged_sequences(self) -> int | None:
        """Return how many unseen sequences the judge had answered; None without a judgement."""
        return None if self.judged_wrong is None or self.judge is None else self.judge.sequences

    @property
    def failed(self) -> bool:
        """Whether the trial failed, or is contradicted."""
        return self.status == "failed" or self.contradiction is not None

    @property
    def counts(self) -> bool:
        """Whether its figures count: it trained, and nothing contradicts it."""
        return self.status in COUNTED and self.contradiction is None

    @property
    def is_replicate(self) -> bool:
        """Whether it was trained together with other seeds, without its own times."""
        return bool(self.trial.replicates)

    @property
    def is_first(self) -> bool:
        """Whether its process had trained no other before: it has the process' start."""
        process = self.provenance.process
        return process is None or process.place == 0

    @property
    def lasted(self) -> bool:
        """Whether no evaluation after the hit missed."""
        return all(point.exact_match == 1.0 for point in self.after_hit)


class Latency(Struct, kw_only=True):
    """How long one call took with one number of samples; seconds.

    Attributes:
        median_s, quartiles_s: over the timed calls.
        samples_per_s: batch / median_s.
        calls: how many were timed.
        first_call_s: the first one, compiling included; not among them.
    """

    batch: Whole
    median_s: Finite
    quartiles_s: tuple[Finite, Finite]
    samples_per_s: Finite
    calls: Whole
    first_call_s: Finite


class Prediction(JsonLine, kw_only=True):
    """A saved network on one backend; empty means not measured.

    Attributes:
        model, model_sha256: the file's name and digest.
        task: as `--task` takes it.
        accuracy: share of `tokens` that are right, over fresh sequences.
        differing_tokens: of these, answered otherwise than on backend
            `differs_from`; both empty for that backend itself.
        answers_sha256: digest of the answers.
        import_s, load_s, wall_s: importing Keras and the framework, loading
            the model, the whole process.
        trial: the one that trained the network.
        provenance: of the prediction.
    """

    model: str
    task: str
    backend: str
    device: str
    threads: Whole
    status: Literal["measured", "failed", "timeout", "unavailable", "unsupported"]
    reason: str | None = None
    accuracy: Finite | None = None
    tokens: Whole | None = None
    differing_tokens: Whole | None = None
    differs_from: str | None = None
    import_s: Finite | None = None
    load_s: Finite | None = None
    wall_s: Finite | None = None
    peak_memory_bytes: Whole | None = None
    started_at: str

    schema_version: Whole = PREDICTION_SCHEMA_VERSION
    latencies: list[Latency] = msgspec.field(default_factory=list)
    model_sha256: str
    answers_sha256: str | None = None
    trial: StoredTrial
    provenance: Provenance = msgspec.field(default_factory=Provenance)
    log_tail: list[str] = msgspec.field(default_factory=list)

    @property
    def key(self) -> str:
        """Return what is the same for predictions by one network of one task, run in one way."""
        return f"{self.model_sha256} {self.task} {self.backend} {self.device} {self.threads}"


WITHIN: dict[type[Struct], dict[str, type[Struct]]] = {
    JsonLine: {"trial": StoredTrial, "provenance": Provenance},
    StoredTrial: {"recipe": StoredRecipe},
    Provenance: {"machine": Machine, "git": Git, "process": Process, "calibration": Rates},
}
"""Objects of a line that may hold more than this version knows."""


def _columns(kind: type[JsonLine]) -> tuple[str, ...]:
    fields = tuple(name for name in kind.__struct_fields__ if name != "beyond")
    return fields[: fields.index("schema_version")]


TABLE_FIELDS, PREDICTION_FIELDS = _columns(Record), _columns(Prediction)
FLOATS, INTEGERS = (
    {f.name for f in msgspec.structs.fields(Record) if kind in (f.type, *get_args(f.type))}
    for kind in (Finite, Whole)
)
"""Fields that hold such numbers."""


def latest(records: list[Record]) -> list[Record]:
    """Return the records of the table: of each trial the last one run on each machine.

    A trial that was forced or retried has several; the older ones stay on disk.
    """
    return list({(record.key, record.machine_class): record for record in records}.values())


def cells_of(records: Sequence[Record]) -> list[Cell]:
    """Return the cell of each record; those that do not say how they ran join the others."""
    places = [(record.cell, record.machine_class) for record in records]
    found = joined(places)
    return [found.get(place, place[0]) for place in places]
