"""Run a worker: `python -m echobench.worker FD STARTED HOME`, with a `Job` as one line of input.

Events go to the file descriptor FD. STARTED is when the parent started this process, on the
monotonic clock, which all processes of a machine share; the system's own start time of a
process is only exact to the second. HOME is the worker's own folder. The parent keeps standard
input open for as long as it lives.
"""

from __future__ import annotations

import sys

from echobench.worker import guard

if __name__ == "__main__":
    guard.stand(int(sys.argv[1]), sys.argv[3])
    # Imported in the worker alone: the guard stays small.
    from echobench.worker.job import main

    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
