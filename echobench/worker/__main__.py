"""A worker: `python -m echobench.worker FD STARTED HOME`, with a `Job` as its one line of input.

Events go to the file descriptor FD. STARTED is when the parent started this process, on
the monotonic clock, which all processes of a machine share. (What the system says of a
process's start is only as exact as the second in which the machine was booted.) HOME is the
folder of its own. The parent keeps standard input open for as long as it lives.
"""

from __future__ import annotations

import sys

from echobench.worker import guard

if __name__ == "__main__":
    guard.stand(int(sys.argv[1]), sys.argv[3])
    # The guard has no use for any of this.
    from echobench.worker.job import main

    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
