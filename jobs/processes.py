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


def stop_group(pid: int, started: str, *, grace_seconds: float) -> None:
    """End the process and its group: SIGTERM, and SIGKILL to what is left after the grace.

    The process must lead its group. Does nothing where it has ended.
    """
    if has_ended(pid, started):
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + grace_seconds
        while time.monotonic() < until:
            if has_ended(pid, started):
                return
            time.sleep(0.1)


def _state(pid: int) -> tuple[str, str] | None:
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the command in parentheses and may hold anything; see proc(5) for the rest.
        fields = stat.rpartition(")")[2].split()
        return fields[0], fields[19]
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    ).stdout.split(maxsplit=1)
    return (listed[0], listed[1].strip()) if len(listed) == 2 else None
