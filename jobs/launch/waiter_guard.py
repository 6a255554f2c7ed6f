"""Ends a process if the process that waits for it dies: a watch beside a child that nobody else would stop.

`python jobs/launch/waiter_guard.py PID STARTED`: `STARTED` distinguishes the process from a later one of that id
(`jobs.launch.processes`). Its standard input is a pipe that the waiting process holds open. The system closes it when
that process ends, also at SIGKILL (_exit(2), pipe(7)).
"""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from jobs.launch.processes import stop_group

_GRACE_SECONDS = 2.5


def main(arguments: list[str]) -> int:
    """Wait until the pipe is closed, then stop the process and all that it has started."""
    sys.stdin.buffer.read()
    stop_group(int(arguments[0]), arguments[1], grace_seconds=_GRACE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
