"""Start a worker's process, read its events, enforce its limits, and end it."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from echobench import interrupts
from echobench.harness.worker_output import LineSplitter, log_tail, parse_events, shorten_log
from echobench.machine import facts, privacy, stops
from echobench.plugin.failures import one_line
from echobench.trial.job import LEAVES, Failure, Job, Progress, Report, Result

MODULE = "echobench.worker"
"""What a worker runs; its process is known by it."""
GRACE_S = 10.0
"""Seconds that a worker has, past its limit or its last result, to end by itself."""
GUARD_S = 5.0
"""Seconds that a guard may take to end its worker's processes."""
TICK_S = 0.2
"""Seconds between two checks of the log's size and of the memory."""
LONGEST_TURN_S = 1.0
"""The most seconds of a turn of listening that count: in a longer one we were stopped ourselves."""
PAUSE_S = 0.02
CHUNK_BYTES = 2**16


@dataclass
class Ending:
    """How a worker ended, and what it reported.

    Attributes:
        answers: results reported; a healthy worker reports one for each trial.
        heard_s: for each of them, how long we listened for it, by our own clock.
        log_tail: the last lines that it printed.
        killed: status and reason where it was killed, None where it ended by itself.
        death: how it ended by itself, in words.
        code: its exit code; negative where a signal ended it.
        dropped: events that were too long to be kept.
        leaves: whether it said that it takes no further turn.
    """

    answers: list[Result | Failure] = field(default_factory=list)
    heard_s: list[float] = field(default_factory=list)
    log_tail: list[str] = field(default_factory=list)
    killed: tuple[Literal["failed", "timeout"], str] | None = None
    death: str = ""
    code: int = 0
    dropped: int = 0
    leaves: bool = False


def run_worker(
    job: Job,
    environment: Callable[[str], dict[str, str]],
    log: Path,
    report: Report,
) -> Ending:
    """Run a job's worker to its end; its child processes have ended too when this returns.

    Args:
        job: what the worker does.
        environment: returns the worker's environment, given its own folder.
        log: file for what the worker prints.
        report: called with the worker's progress.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    kills = facts.oom_kills()
    with contextlib.ExitStack() as stack:
        # The guard makes and removes it; this removes it where the guard was killed.
        home = str(Path(tempfile.gettempdir()) / f"echobench-{uuid.uuid4().hex[:16]}")
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        output = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        stack.callback(os.close, output)
        receiving, sending = os.pipe()
        stack.callback(os.close, receiving)
        began = time.monotonic()
        try:
            worker = _start(sending, home, output, environment(home), job.cores)
        except BaseException as error:  # a plugin's environment may be anything
            interrupts.pass_on(error)
            reason = f"no process could be started: {one_line(error)}"
            return Ending(killed=("failed", reason))
        finally:
            os.close(sending)
        assert worker.stdin is not None
        ending = Ending()
        try:
            with contextlib.suppress(BrokenPipeError):  # it died; its ending says how
                # Left open: the guard takes its closing for our death.
                worker.stdin.write(job.model_dump_json().encode() + b"\n")
                worker.stdin.flush()
            limits = _Limits(home, began, job.turn_limit_s, job.memory_limit)
            _attend(worker, receiving, output, limits, ending, job, report)
        finally:
            _end_tree(worker, home)
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()
        ending.death = _death(worker.returncode, facts.oom_kills() != kills)
        ending.code = worker.returncode
        shorten_log(output)
        ending.log_tail = log_tail(output)
    privacy.redact_file(log)
    return ending


@dataclass
class _Limits:
    """When a worker is killed: at `until` on the monotonic clock, or above `memory` bytes.

    Attributes:
        home: the worker's own folder.
        began: when its turn began: it was started, or had reported the result before.
        turn_s: how long it may take for its next result.
        until: the end of that, and of the grace.
        status, reason: of a worker that is killed at `until`.
        pauses: when this process was stopped itself, since `until` was set.
        answered: whether the worker has reported all that it had to.
    """

    home: str
    began: float
    turn_s: float
    memory: int | None
    until: float = field(init=False)
    status: Literal["failed", "timeout"] = "timeout"
    reason: str = ""
    pauses: list[stops.Interval] = field(default_factory=list)
    answered: bool = False

    def __post_init__(self) -> None:
        self.until = self.began + self.turn_s + GRACE_S
        self.reason = f"still running {GRACE_S:g} s past its limit of {self.turn_s:g} s"

    def begin_turn(self) -> None:
        """Give the worker its time for the next result, from now on."""
        self.began = time.monotonic()
        self.pauses.clear()
        self.__post_init__()

    def verdict(self, now: float) -> tuple[Literal["failed", "timeout"], str] | None:
        """Return status and reason of a worker whose time is over; None if it is not.

        Time in which both were stopped, it and this process, is not over: all that ran then were
        the clocks. A worker that was stopped by itself has had less time than its trial says, so
        it has failed. After a pause of its own over the end this process listens first.
        """
        over_it = [end for start, end in self.pauses if start < self.until]
        if now < max([self.until, *(end + GRACE_S for end in over_it[-1:])]):
            return None
        stopped = stops.read(self.home)
        both_s = stops.overlap_s(self.pauses, stopped)
        if now < self.until + both_s:
            return None
        alone_s = stops.overlap_s([(self.began, now)], stopped) - both_s
        if self.status == "timeout" and alone_s > LONGEST_TURN_S:
            return "failed", f"killed: stopped for {alone_s:.3g} s, and {self.reason}"
        return self.status, f"killed: {self.reason}"

    def leave_grace(self, event: str, *, answered: bool) -> None:
        """Leave the worker only the grace: after this event it has nothing more to do.

        After its last result it has all of the grace, also where its limit is nearer, once.
        """
        until = time.monotonic() + GRACE_S
        if not self.answered and (answered or until < self.until):
            self.until, self.status, self.answered = until, "failed", answered
            self.reason = f"still running {GRACE_S:g} s after {event}"
            self.pauses.clear()


def _start(
    sending: int, home: str, output: int, env: dict[str, str], cores: list[int] | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            MODULE,
            str(sending),
            repr(time.monotonic()),
            home,
            *map(str, cores or []),
        ],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=env,
        pass_fds=[sending],
        start_new_session=True,
    )


def _attend(
    worker: subprocess.Popen[bytes],
    receiving: int,
    output: int,
    limits: _Limits,
    ending: Ending,
    job: Job,
    report: Report,
) -> None:
    """Listen to a worker until it ends or a limit ends it."""
    lines, listening = LineSplitter(), True
    now = last = time.monotonic()
    tick, heard_s = last + TICK_S, 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(receiving, selectors.EVENT_READ)
        while len(ending.answers) <= job.results:  # more are not believed, however many come
            # What the worker has said comes before any clock: it may have lain in the pipe for
            # as long as this process was stopped.
            left, said = max(0.0, tick - now), []
            if listening:
                said = selector.select(left)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(left)
                    break
            interrupts.check()
            now = time.monotonic()
            heard_s += min(now - last, LONGEST_TURN_S)
            if now - last > LONGEST_TURN_S:
                limits.pauses.append((last, now))
            last = now
            if said:
                chunk = os.read(receiving, CHUNK_BYTES)
                if not chunk:
                    listening = False
                    limits.leave_grace("it closed its pipe, without a result", answered=False)
                for event in parse_events(lines.feed(chunk)):
                    if isinstance(event, Progress):
                        if event.phase == LEAVES:
                            ending.leaves = True
                            limits.leave_grace("it left trials to another", answered=True)
                        report(event)
                        continue
                    ending.answers.append(event)
                    ending.heard_s.append(heard_s)
                    heard_s = 0.0
                    if isinstance(event, Failure) or len(ending.answers) >= job.results:
                        limits.leave_grace("its result", answered=True)
                    elif job.in_turn:
                        limits.begin_turn()
            ending.killed = limits.verdict(now)
            if ending.killed is None and now >= tick:
                tick = now + TICK_S
                shorten_log(output)
                if (held := _too_much(worker, limits.memory)) is not None:
                    ending.killed = ("failed", held)
            if ending.killed is not None:
                break
    ending.dropped = lines.dropped


def _too_much(worker: subprocess.Popen[bytes], limit: int | None) -> str | None:
    """Return the reason to kill a worker that holds more memory than the limit, if it does."""
    if limit is None:
        return None
    held = facts.resident_bytes(_below(worker.pid))
    if held <= limit:
        return None
    return (
        f"killed: used {facts.size_text(held)}, more than --memory-limit {facts.size_text(limit)}"
    )


def _below(guard: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(guard).children(recursive=True)
    return []


def _end_tree(worker: subprocess.Popen[bytes], home: str) -> None:
    """End the worker and its descendants.

    The guard does so. Where the guard was stopped or killed, the descendants are known by the
    worker's own folder in their environment.
    """
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(GUARD_S)
    if worker.returncode is not None and worker.returncode >= 0:
        return  # the guard did its work
    until = time.monotonic() + GUARD_S
    while (running := _descendants(worker.pid, home)) and time.monotonic() < until:
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)
    worker.kill()
    worker.wait()


def _descendants(guard: int, home: str) -> list[psutil.Process]:
    """Return the running processes of a worker, itself included."""
    found = _below(guard)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != guard and process.environ().get("TMPDIR") == home:
                found.append(process)
    running = []
    for process in found:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


def _death(code: int, out_of_memory: bool) -> str:
    if code >= 0:
        return f"the worker ended with exit code {code}"
    number = -code
    name = signal.Signals(number).name if number in [*signal.Signals] else f"signal {number}"
    starved = number == signal.SIGKILL and out_of_memory
    cause = ": out of memory (the system's OOM killer)" if starved else ""
    return f"the worker was ended by {name}{cause}"
