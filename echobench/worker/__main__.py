"""Run a worker: `python -m echobench.worker FD STARTED HOME [CORE ...]`, with a `Job` on its input.

Events go to the file descriptor FD. STARTED is when the parent started this process, on the
monotonic clock, which all processes of a machine share; the system's own start time of a
process is only exact to the second. HOME is the worker's own folder. The worker keeps
to the cores: XLA starts a thread for each that it may use, and others have their own jobs. The
parent keeps standard input open for as long as it lives.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import os
import sys
import threading

from echobench.worker import guard

if __name__ == "__main__":
    if sys.argv[4:]:  # before anything starts threads
        os.sched_setaffinity(0, map(int, sys.argv[4:]))
    guard.stand(int(sys.argv[1]), sys.argv[3])
    # Imported in the worker alone: the guard stays small.
    from echobench.worker.job import main

    code = main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
    # Not sys.exit: to take a framework apart piece by piece takes Python a second, and the system
    # no time. What plugins expect of an exit is done: threads end, handlers run, files are written.
    for thread in threading.enumerate():
        if not (thread.daemon or thread is threading.main_thread()):
            thread.join()
    atexit._run_exitfuncs()
    for each in gc.get_objects():
        if issubclass(type(each), io.IOBase):
            with contextlib.suppress(OSError, ValueError):  # it is closed, or cannot be written
                each.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(code)
