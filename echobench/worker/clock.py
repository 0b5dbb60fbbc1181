"""When a backend does the work of training: on the clock, or at another time.

The calls are those of a trial, with the seed's own weights and rows, so that what a backend does
ahead, afterwards or in a thread there, it does here too. Processor time is measured: wall times
of milliseconds say little on a machine that others load.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from echobench.core.backend import Predictor, Trainer
from echobench.core.experiment import Experiment
from echobench.core.rows import draw
from echobench.core.sequences import Floats, Integers, stream
from echobench.core.target import BLOCK
from echobench.core.training import fresh_rows, read

ROUNDS = (3, 9)
"""Trials that are begun: at least, and at most."""
ENOUGH_S = 5.0
"""Seconds after which no further trial is begun, beyond the least."""
PAUSE_S = 0.05
MOST_PAUSES = 100
REST = 0.05
"""Between two looks at the processor, how many looks, and how busy it may be at rest."""
STRETCH_UPDATES = 100
"""The most updates of a stretch, which else goes from one evaluation to the next."""
CONTROLS, CONTROL_S, MOST_CALLS = 3, 0.1, 5
"""Rounds of a trial's control, seconds of a round, and its most calls."""
MOST_WAITED = 20.0
"""How often the processor time of an epoch goes into its wall time: more is the work of others."""
MOST_CONTROLS, BETWEEN_S = 12, 0.25
"""The most rounds of a control that contradicts its trial, and the pause before a further one."""
LEARNER = 1
"""The seed whose losses are compared with the reference's; not the parity gate's."""


def stretch(program: Experiment) -> int:
    """Return the epochs of a stretch."""
    return min(program.recipe.evaluate_every, -(-STRETCH_UPDATES // program.batches))


def learning(program: Experiment, trainer: Trainer) -> list[float]:
    """Return the mean loss of each epoch of the first stretch of a seed's trial."""
    rows = fresh_rows(program.task, program.recipe, stream(LEARNER, "train"), stretch(program))
    trainer.reset(program.initial_weights(stream(LEARNER, "weights")))
    return [float(np.mean(losses)) for losses in _begin(trainer, rows)]


def _begin(trainer: Trainer, rows: Integers) -> list[Floats]:
    """Train as a trial does up to its first evaluation: one epoch, then the others."""
    parts = [part for part in (rows[:1], rows[1:]) if len(part)]
    return [losses for part in parts for losses in trainer.train(part)[0]]


def measure(program: Experiment, trainer: Trainer, predictor: Predictor) -> dict[str, float]:
    """Begin several trials, and measure what is done when.

    The trainer and the predictor have been called before, so that they are compiled.

    Returns:
        Processor times, over that of a stretch on rows that nobody can know in advance:
        `unread`, of what is left to whoever reads the weights; `foreseen`, of a stretch on the
        trial's own rows; `reset`; `idle`, while nothing is asked after training; `predictor`,
        by how much the first call after training exceeds the second. Each is the median over
        the trials; of `unread` the upper quartile, since a device goes on while another process
        has our core, and little is left then.
    """
    began = time.monotonic()
    rounds: list[dict[str, float]] = []
    while len(rounds) < ROUNDS[0] or (
        len(rounds) < ROUNDS[1] and time.monotonic() < began + ENOUGH_S
    ):
        rounds.append(_Round(program, trainer, predictor, len(rounds) + 1).measure())
    shares = {"unread": 0.75}
    return {
        name: float(np.quantile([each[name] for each in rounds], shares.get(name, 0.5)))
        for name in rounds[0]
    }


class _Round:
    """The beginning of the trial of a seed, other than the parity gate's."""

    def __init__(
        self, program: Experiment, trainer: Trainer, predictor: Predictor, seed: int
    ) -> None:
        self._program, self._trainer, self._predictor = program, trainer, predictor
        self._seed = seed
        self._rows = stream(seed, "train")

    def measure(self) -> dict[str, float]:
        trainer, epochs = self._trainer, stretch(self._program)
        weights = self._program.initial_weights(stream(self._seed, "weights"))
        questions = draw(self._program.task, stream(self._seed, "screen"), BLOCK)
        spent = Stopwatch()
        trainer.reset(weights)
        reset_s = spent.lap()
        _begin(trainer, self._draw(epochs))
        trainer.weights()
        rows = self._draw(epochs)
        spent.lap()
        trainer.train(rows)
        foreseen_s = spent.lap()
        trainer.weights()
        unread_s = spent.lap()
        trainer.weights()
        unread_s -= spent.lap()
        trainer.train(self._draw(epochs))
        spent.lap()
        rest()
        idle_s = spent.lap()
        trainer.train(self._draw(epochs))
        current = trainer.weights()
        spent.lap()
        self._predictor(current, questions)
        called_s = spent.lap()
        self._predictor(current, questions)
        called_s -= spent.lap()
        self._rows = stream(None, "train")  # from here on, nobody knows the rows
        rows = self._draw(epochs)
        spent.lap()
        trainer.train(rows)
        trainer.weights()
        rest()
        stretch_s = spent.lap()
        return {
            "unread": unread_s / stretch_s,
            "foreseen": (foreseen_s + max(0.0, unread_s)) / stretch_s,
            "reset": reset_s / stretch_s,
            "idle": idle_s / stretch_s,
            "predictor": called_s / stretch_s,
        }

    def _draw(self, epochs: int) -> Integers:
        return fresh_rows(self._program.task, self._program.recipe, self._rows, epochs)


@dataclass(frozen=True)
class Epoch:
    """What an epoch of a trial took by its clock: seconds of wall time and of processor time."""

    wall_s: float
    processor_s: float

    @property
    def alone_s(self) -> float:
        """Wall seconds without most of what it waited for others."""
        return min(self.wall_s, max(self.processor_s, self.wall_s / MOST_WAITED))

    @property
    def round_s(self) -> float:
        """Wall seconds of a round of the control, if it is disturbed as the trial was."""
        return max(self.wall_s, CONTROL_S * self.wall_s / self.alone_s)

    @property
    def least_s(self) -> float:
        """Wall seconds that the control takes at least, if it is disturbed as the trial was."""
        return CONTROLS * self.round_s


def control(
    program: Experiment,
    trainer: Trainer,
    dispatch: int,
    epoch: Epoch,
    enough: float = math.inf,
    until: float = math.inf,
) -> float:
    """Train on after a trial, on rows that nobody can foresee; return processor seconds an epoch.

    All that is done in threads, and when the weights are read, is counted. It is the least of
    several rounds: an epoch takes no less for being disturbed. Threads that wait for each other
    on a core that another process has may take many times as much, so more rounds follow while
    the least is more than `enough`.

    Args:
        program: the trial's.
        trainer: its trainer; it is of no use afterwards.
        dispatch: the most epochs of a call.
        epoch: of the trial. A round is long beside what a call takes, whatever its epochs are.
        enough: processor seconds an epoch that contradict nobody.
        until: when the last further round must have ended, on the monotonic clock.
    """
    in_all = CONTROL_S / epoch.alone_s
    epochs = max(1, min(dispatch, int(in_all)))
    calls = max(1, min(MOST_CALLS, int(in_all / epochs)))
    unforeseen = stream(None, "train")
    found: list[float] = []
    while len(found) < CONTROLS or (
        min(found) > enough
        and len(found) < MOST_CONTROLS
        and time.monotonic() + BETWEEN_S + epoch.round_s < until
    ):
        if len(found) >= CONTROLS:
            time.sleep(BETWEEN_S)
        rows = [fresh_rows(program.task, program.recipe, unforeseen, epochs) for _ in range(calls)]
        spent = Stopwatch()
        for part in rows:
            read(trainer.train(part))
            read(trainer.weights())
        rest()
        found.append(spent.lap() / calls / epochs)
    return min(found)


class Stopwatch:
    """Measures processor time: of all threads together, whatever else the machine does."""

    def __init__(self) -> None:
        self._start = time.process_time()

    def lap(self) -> float:
        """Return the processor's seconds since the last lap, or since the beginning."""
        before, self._start = self._start, time.process_time()
        return self._start - before


def rest() -> None:
    """Wait for what goes on in threads, if anything does: until the processor is at rest."""
    for _ in range(MOST_PAUSES):
        before = time.process_time()
        time.sleep(PAUSE_S)
        if time.process_time() - before < REST * PAUSE_S:
            return
