"""Guard a worker: end every process that it starts, whatever happens to it or to the parent.

The process that the parent starts forks before any heavy import. Its child becomes the
worker; it becomes the guard, and waits until the worker ends, the parent sends SIGTERM, or
the parent is gone: a killed parent sends nothing, but its end of our standard input closes.
Then the guard ends all descendants, and ends as the worker did. Meanwhile it writes down when
the worker was stopped (`echobench.machine.stops`).

On Linux a plugin's daemons stay below the guard too (it is the subreaper), and the worker does
not outlive the guard. Elsewhere such daemons may escape.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

from echobench.machine import stops

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Linux' linux/prctl.h."""
PAUSES_S = (0.001, 0.1)
"""Between two looks at the descendants: the first pause, and the longest."""


def stand(pipe: int, home: str) -> None:
    """Become the guard; return only in its child, the worker.

    Args:
        pipe: file descriptor for the worker's events.
        home: the worker's own folder, which the guard makes and removes, as a killed parent
            could not.
    """
    Path(home).mkdir(mode=0o700, exist_ok=True)
    # Ignored and blocked signals are inherited.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.setsid()  # a signal to its own group does not reach the guard
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        with contextlib.suppress(OSError):  # not Linux
            # Out of memory, the system kills the worker and not the harness.
            Path("/proc/self/oom_score_adj").write_text("1000")
        return
    os.close(pipe)
    status = int(signal.SIGKILL)  # what the parent sees if this fails
    try:
        status = _watch(worker, home)
    finally:
        _end(status)


def _watch(worker: int, home: str) -> int:
    """Wait for a reason to end, end all descendants; return the worker's wait status."""
    wake_up = _signal_pipe(signal.SIGCHLD, signal.SIGTERM, signal.SIGCONT)
    poll = select.poll()
    poll.register(wake_up, select.POLLIN)
    poll.register(0, 0)  # a hang-up is reported without being asked for
    ready: list[tuple[int, int]] = []
    signals = b""
    log = stops.StopLog(home, worker)
    while True:
        _, status = _reap(worker, log)
        log.beat(signal.SIGCONT in signals)
        parent_gone = any(descriptor == 0 for descriptor, _ in ready)
        if parent_gone or signal.SIGTERM in signals or status is not None:
            break
        ready, signals = poll.poll(1000 * stops.BEAT_S), b""
        # Where we were stopped past its time, the poll tells of no signal.
        with contextlib.suppress(BlockingIOError):
            signals = os.read(wake_up, 4096)
    last_status = _end_descendants(worker)
    try:
        Path(home).rmdir()
    except OSError:
        import shutil  # most workers leave it empty

        shutil.rmtree(home, ignore_errors=True)
    return last_status if status is None else status


def _signal_pipe(*numbers: signal.Signals) -> int:
    """Return a non-blocking pipe that yields the number of each of these signals as it comes."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda number, frame: None)
    return reading


def _reap(worker: int, log: stops.StopLog | None = None) -> tuple[bool, int | None]:
    """Reap children that have ended; return whether any are left, and the worker's status.

    A log notes when the worker was stopped or continued.
    """
    status = None
    options = os.WNOHANG if log is None else os.WNOHANG | os.WUNTRACED | os.WCONTINUED
    while True:
        try:
            child, child_status = os.waitpid(-1, options)
        except ChildProcessError:
            return False, status
        if not child:
            return True, status
        if os.WIFSTOPPED(child_status) or os.WIFCONTINUED(child_status):
            if log is not None and child == worker:
                log.note(stopped=os.WIFSTOPPED(child_status))
        elif child == worker:
            status = child_status


def _end_descendants(worker: int) -> int:
    """End all descendants; return the worker's status, or SIGKILL's if it ended before.

    They are stopped first, until no new one appears: a stopped process starts no other.
    """
    status = int(signal.SIGKILL)
    pause, longest = PAUSES_S
    stopped: set[int] = set()
    while True:
        any_left, worker_status = _reap(worker)
        if worker_status is not None:
            status = worker_status
        if not any_left:
            return status
        import psutil  # most workers leave nothing behind

        children = psutil.Process().children(recursive=True)
        new = [child.pid for child in children if child.pid not in stopped]
        for process in new or [child.pid for child in children]:
            with contextlib.suppress(OSError):  # it has ended by itself
                os.kill(process, signal.SIGSTOP if new else signal.SIGKILL)
        if new:
            stopped.update(new)
        else:
            stopped.clear()  # numbers are used again
            time.sleep(pause)
            pause = min(2 * pause, longest)


def _end(status: int) -> None:
    """End as the worker did: by the same signal, or with the same exit code."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core that matters is the worker's
    with contextlib.suppress(OSError):  # SIGKILL has no handler to be reset
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    os._exit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
