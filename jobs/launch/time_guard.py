"""Ends a process at its time limit: a watch beside a stage on this machine. It outlives the task that waits for it.

`python jobs/launch/time_guard.py PID STARTED ENDS_AT LIMIT`: `STARTED` distinguishes the process from a later one of
that id (`jobs.launch.processes`), `ENDS_AT` is in seconds since the epoch, `LIMIT` is in words. The watch ends with the
process, and stops what that process has started and left: a driver in Python whose JVM was killed.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import time

from jobs.launch.processes import group_runs, has_ended, stop_group

_LOOK_SECONDS = 2.0
# Nobody waits for this process, so Spark gets the time to end by itself.
_GRACE_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """Watch until the process has ended or its time is up."""
    pid, started, ends_at, limit = int(arguments[0]), arguments[1], float(arguments[2]), arguments[3]
    while (rest := ends_at - time.time()) > 0:
        if has_ended(pid, started):
            # What is about to end by itself gets the time.
            time.sleep(_LOOK_SECONDS)
            stop_group(pid, started, grace_seconds=_GRACE_SECONDS)
            return 0
        time.sleep(min(_LOOK_SECONDS, rest))
    if group_runs(pid, started):
        print(f"Process {pid} has reached its time limit of {limit}: stopping it.", flush=True)  # noqa: T201
        stop_group(pid, started, grace_seconds=_GRACE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
