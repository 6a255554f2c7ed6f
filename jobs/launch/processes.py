"""Processes of this machine, by id and start, so that a reused id is never taken for the one meant."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


def place() -> str:
    """Where a process id means what it means here: this host, since it was booted, in this container.

    Two containers of one machine count their processes apart, and so does a machine after a reboot (proc(5),
    pid_namespaces(7)). Elsewhere than on Linux it is the host's name alone.
    """
    parts = [socket.gethostname()]
    if _BOOT.exists():
        parts.append(_BOOT.read_text(encoding="ascii").strip())
    if _NAMESPACE.is_symlink():
        parts.append(str(_NAMESPACE.readlink()))
    return " ".join(parts)


def started_at(pid: int) -> str | None:
    """When the process began, in the words of the system; None where it is gone."""
    state = _state(pid)
    return state[1] if state else None


def has_ended(pid: int, started: str) -> bool:
    """Whether that very process runs no more. One that nobody has waited for yet (a zombie) has ended."""
    state = _state(pid)
    return state is None or state[1] != started or state[0].startswith("Z")


def group_runs(pid: int, started: str) -> bool:
    """Whether that very process runs, or others of the group that it leads or led.

    spark-submit becomes a JVM that leads the group and starts the driver in Python, which goes on where the JVM is
    killed. A system gives out no process id that is still the id of a group, and a process with a session of its own
    takes no group of another (setsid(2), fork(2)): so the members of a group without its leader are those meant, as
    long as the process led a session, too.
    """
    # kill(2): 0 is the caller's own group, and what is below is no group. 1 is the system's.
    if pid <= 1:
        return False
    leader = _state(pid)
    if leader is not None and (leader[1] != started or not leader[0].startswith("Z")):
        return leader[1] == started
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _has_members(pid)


def stop_group(pid: int, started: str, *, grace_seconds: float) -> None:
    """End the process and its group: SIGTERM, and SIGKILL to what remains after the grace.

    The process must lead its group and a session. Does nothing where all of the group has ended.
    """
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not group_runs(pid, started):
            return
        try:
            os.killpg(pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + grace_seconds
        while time.monotonic() < until:
            if not group_runs(pid, started):
                return
            time.sleep(0.1)


def _has_members(group: int) -> bool:
    """Whether a process of this group and session runs; a zombie does not. Cost: a look at each process."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=False, timeout=10
        ).stdout.splitlines()
        rows = (line.split() for line in listed)
        return any(row[0] == str(group) and not row[1].startswith("Z") for row in rows if len(row) == 2)
    for process in Path("/proc").iterdir():
        fields = _fields(process.name) if process.name.isdecimal() else None
        # State, parent, group and session; see proc(5).
        if fields and fields[2:4] == [str(group)] * 2 and fields[0] not in ("Z", "X"):
            return True
    return False


def _fields(pid: int | str) -> list[str] | None:
    """What proc(5) says of a process, from its state on; None where it is gone, or is another user's and `/proc` is
    mounted with hidepid: a process of ours has our user."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    # The second field is the command in parentheses and may hold anything.
    return stat.rpartition(")")[2].split()


def _state(pid: int) -> tuple[str, str] | None:
    if Path("/proc/self/stat").exists():
        fields = _fields(pid)
        return (fields[0], fields[19]) if fields else None
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    ).stdout.split(maxsplit=1)
    return (listed[0], listed[1].strip()) if len(listed) == 2 else None
