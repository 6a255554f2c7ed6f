"""Start, watch and stop a background process by its id, and never another process that got the same id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from failure import Failure
from places import service_dir, write_private


@dataclass(frozen=True)
class Started:
    """One process as its pid file describes it.

    A pid alone is reused; pid, the start time in clock ticks since boot (proc_pid_stat(5), field 22)
    and the id of that boot together name one process for ever. `ready` says that what must be in the
    service was made: a command that was killed in between leaves it false.
    """

    pid: int
    start_ticks: int
    boot_id: str
    ports: dict[str, int]
    ready: bool = False

    def is_alive(self) -> bool:
        return self.boot_id == _boot_id() and self.start_ticks == _start_ticks(self.pid)


def pid_file(name: str) -> Path:
    return service_dir(name) / "pid.json"


def find(name: str) -> Started | None:
    """The service's process, if it still runs; a pid file that outlived its process is removed."""
    path = pid_file(name)
    try:
        started = Started(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        path.unlink(missing_ok=True)
        return None
    if started.is_alive():
        return started
    path.unlink(missing_ok=True)
    return None


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    ports: Mapping[str, int],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
) -> Started:
    """Start a process in a session of its own, its output appended to the service's log."""
    with log_file(name).open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    ticks = _start_ticks(process.pid)
    if ticks is None:
        raise Failure(f"{name} ended as soon as it was started. {last_lines(name)}")
    started = Started(process.pid, ticks, _boot_id(), dict(ports))
    write_private(pid_file(name), json.dumps(asdict(started)))
    return started


def mark_ready(name: str) -> None:
    """Note that the service has all it must have.

    Raises:
        Failure: it ended meanwhile.
    """
    started = find(name)
    if started is None:
        raise Failure(f"{name} ended just after it had answered. {last_lines(name)}")
    write_private(pid_file(name), json.dumps(asdict(replace(started, ready=True))))


def wait_until(name: str, started: Started, answers: Callable[[], bool], seconds: float) -> None:
    """Wait until the service answers.

    Raises:
        Failure: the process ended, or did not answer within `seconds`; the end of its log is shown.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        if not started.is_alive():
            pid_file(name).unlink(missing_ok=True)
            raise Failure(f"{name} ended while it started. {last_lines(name)}")
        if time.monotonic() > deadline:
            stop(name, patience=5)
            raise Failure(f"{name} did not answer within {seconds:.0f} seconds. {last_lines(name)}")
        time.sleep(0.1)


def stop(name: str, patience: float = 30) -> bool:
    """Stop the service's process: SIGTERM, then SIGKILL after `patience` seconds. False where none ran."""
    started = find(name)
    if started is None:
        return False
    _signal(started, signal.SIGTERM)
    if not _ended_within(started, patience):
        _signal(started, signal.SIGKILL)
        if not _ended_within(started, 10):
            raise Failure(f"{name}, process {started.pid}, survived SIGKILL. Look at it with: ps -fp {started.pid}")
    pid_file(name).unlink(missing_ok=True)
    return True


def log_file(name: str) -> Path:
    return service_dir(name) / "log.txt"


def last_lines(name: str, count: int = 5) -> str:
    """The end of the service's log, for a message."""
    path = log_file(name)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:] if path.exists() else []
    return "\n".join([f"Its log is {path}, and ends with:", *(f"    {line}" for line in lines)])


def _ended_within(started: Started, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while started.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _signal(started: Started, number: signal.Signals) -> None:
    try:
        # A pidfd keeps naming this process even if it ends and its id is given to another in between.
        handle = os.pidfd_open(started.pid)
    except ProcessLookupError:
        return
    try:
        if started.is_alive():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where it is gone or waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in brackets and may hold anything: count from its end.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
