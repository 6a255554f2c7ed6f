"""A child process that a task waits for and that ends with the wait, however that ends: also where the task is killed
outright, which a guard beside the child sees (`jobs/launch/waiter_guard.py`)."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from jobs.launch.processes import started_at, stop_group
from lakeferry_airflow.guards import START_ON_INPUT, start_guard

_LOOK_SECONDS = 0.2
# Airflow ends a task by SIGKILL five seconds after SIGTERM.
_GRACE_SECONDS = 2.5


def run_child(
    command: Sequence[str], environment: Mapping[str, str], pass_line: Callable[[str], None], look: Callable[[], None]
) -> int:
    """Run a command and pass its lines on as they come; its exit code.

    Args:
        look: called several times a second, also while the child says nothing.

    Raises:
        BaseException: what `look`, `pass_line` or a signal handler raises (Airflow's timeout); the child is stopped
            first.
    """
    child: subprocess.Popen[bytes] | None = None
    guard: subprocess.Popen[bytes] | None = None
    try:
        child = subprocess.Popen(
            # Once its guard is there: a task that dies before closes the pipe, and nothing has run.
            ["/bin/sh", "-c", START_ON_INPUT, "plan", *command],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started = started_at(child.pid) or ""
        guard = start_guard("waiter_guard.py", str(child.pid), started, stdin=subprocess.PIPE)
        assert child.stdin is not None, "stdin is a pipe"
        with child.stdin:
            child.stdin.write(b"go\n")
        _pass_lines_on(child, pass_line, look)
        while child.poll() is None:
            look()
            time.sleep(_LOOK_SECONDS)
        return child.returncode
    except BaseException:
        if child is not None:
            _stop(child)
        raise
    finally:
        for stream in (child.stdin, child.stdout) if child is not None else ():
            if stream is not None:
                stream.close()
        if guard is not None:
            guard.kill()
            guard.wait()
            assert guard.stdin is not None, "stdin is a pipe"
            guard.stdin.close()


def _stop(child: subprocess.Popen[bytes]) -> None:
    started = started_at(child.pid) or ""
    try:
        stop_group(child.pid, started, grace_seconds=_GRACE_SECONDS)
    except BaseException:
        # Airflow's timeout may come while the child gets its time to end.
        stop_group(child.pid, started, grace_seconds=0)
        raise
    finally:
        child.wait()


def _pass_lines_on(child: subprocess.Popen[bytes], pass_line: Callable[[str], None], look: Callable[[], None]) -> None:
    assert child.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            look()
            if not selector.select(_LOOK_SECONDS):
                continue
            read = os.read(child.stdout.fileno(), 65_536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pass_line(line.decode(errors="replace").rstrip("\r"))
    if rest:
        pass_line(rest.decode(errors="replace"))
