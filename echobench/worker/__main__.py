"""Run a worker: `python -m echobench.worker FD STARTED HOME [CORE ...]`, with a `Job` on its input.

Events go to the file descriptor FD. STARTED is when the parent started this process, on the
monotonic clock, which all processes of a machine share; the system's own start time of a
process is only exact to the second. HOME is the worker's own folder. The worker keeps
to the cores: XLA starts a thread for each that it may use, and others have their own jobs. The
parent keeps standard input open for as long as it lives.
"""

from __future__ import annotations

import os
import sys

from echobench.worker import guard

if __name__ == "__main__":
    if sys.argv[4:]:  # before anything starts threads
        os.sched_setaffinity(0, map(int, sys.argv[4:]))
    guard.stand(int(sys.argv[1]), sys.argv[3])
    # Imported in the worker alone: the guard stays small.
    from echobench.worker.job import main

    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
