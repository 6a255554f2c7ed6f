"""A child process that a task waits for and that ends with the wait, however that ends."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from jobs.processes import started_at, stop_group

_LOOK_SECONDS = 0.2
# Airflow ends a task by SIGKILL five seconds after SIGTERM.
_GRACE_SECONDS = 2.5


def run_child(
    command: Sequence[str], environment: Mapping[str, str], tell: Callable[[str], None], look: Callable[[], None]
) -> int:
    """Run a command and pass its lines on as they come; its exit code.

    Args:
        look: called several times a second, also while the child says nothing.

    Raises:
        BaseException: what `look`, `tell` or a signal handler raises (Airflow's timeout); the child is stopped first.
    """
    child: subprocess.Popen[bytes] | None = None
    try:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _pass_lines_on(child, tell, look)
        while child.poll() is None:
            look()
            time.sleep(_LOOK_SECONDS)
        return child.returncode
    except BaseException:
        if child is not None:
            _stop(child)
        raise
    finally:
        if child is not None and child.stdout is not None:
            child.stdout.close()


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


def _pass_lines_on(child: subprocess.Popen[bytes], tell: Callable[[str], None], look: Callable[[], None]) -> None:
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
                tell(line.decode(errors="replace").rstrip("\r"))
    if rest:
        tell(rest.decode(errors="replace"))
