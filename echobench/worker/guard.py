"""The worker's guard: the process that was started first, and that outlives whatever happens.

It forks before anything heavy is imported; the child goes on to be the worker. The guard
waits, and ends all that the worker has started when the worker has ended, when the parent
tells it to stop (SIGTERM), or when the parent is gone: a parent that is killed cannot tell,
but its end of our standard input closes. Then it ends as the worker did.

On Linux, what a plugin starts as a daemon stays below the guard too (it is the subreaper), and
the worker does not outlive the guard. Elsewhere such daemons may escape.
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

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Linux' linux/prctl.h."""
PAUSES_S = (0.001, 0.1)
"""Between two looks at what is left: the first one, and the longest."""


def stand(pipe: int, home: str) -> None:
    """Become the guard; return in the worker alone, which is a child.

    Args:
        pipe: the file descriptor for the worker's events.
        home: the folder of its own, which the guard makes and removes: a parent that is killed
            could not.
    """
    Path(home).mkdir(mode=0o700, exist_ok=True)
    # What a parent ignores or blocks is inherited.
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
            # Where memory runs out, the system takes the worker and not the harness.
            Path("/proc/self/oom_score_adj").write_text("1000")
        return
    os.close(pipe)
    status = int(signal.SIGKILL)  # whatever the parent is to think, if this goes wrong
    try:
        status = _watch(worker, home)
    finally:
        _end(status)


def _watch(worker: int, home: str) -> int:
    """Wait for what makes an end, and make it; return the worker's status, as `wait` has it."""
    waking = _woken_by(signal.SIGCHLD, signal.SIGTERM)
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    poll.register(0, 0)  # the other end's closing is told whatever is asked for
    gone = told = False
    while True:
        _, status = _reaped(worker)
        if gone or told or status is not None:
            break
        for descriptor, _ in poll.poll():
            if descriptor == waking:
                told = signal.SIGTERM in os.read(waking, 4096)
            else:
                gone = True
    found = _end_descendants(worker)
    try:
        Path(home).rmdir()
    except OSError:
        import shutil  # most workers leave it empty

        shutil.rmtree(home, ignore_errors=True)
    return found if status is None else status


def _woken_by(*numbers: signal.Signals) -> int:
    """Return a pipe that becomes readable with each of these signals, and tells which."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda number, frame: None)
    return waking


def _reaped(worker: int) -> tuple[bool, int | None]:
    """Reap children that have ended; return whether any are left, and the worker's status."""
    status = None
    while True:
        try:
            child, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False, status
        if not child:
            return True, status
        if child == worker:
            status = found


def _end_descendants(worker: int) -> int:
    """End all that is below this process; return the worker's status, if it was among them.

    They are stopped first, until no further one appears: one that is stopped cannot start
    another while it is looked for.
    """
    status = int(signal.SIGKILL)
    pause, longest = PAUSES_S
    stopped: set[int] = set()
    while True:
        left, found = _reaped(worker)
        if found is not None:
            status = found
        if not left:
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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # whatever there is to see is the worker's
    with contextlib.suppress(OSError):  # SIGKILL has no handler to be reset
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    os._exit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
