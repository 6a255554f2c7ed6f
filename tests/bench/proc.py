"""The kernel's numbers on running processes, from /proc (proc(5)): memory and CPU time."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Fields of /proc/PID/stat, counted from the one behind the command in parentheses.
_PARENT, _SESSION, _OWN_CPU, _TREE_CPU, _THREADS = 1, 3, slice(11, 13), slice(11, 15), 17
_RESIDENT, _STACK = 21, 25
_ALIKE = 0.01
_IDLE = slice(3, 5)
_GUEST = 8


def session_usage(session: int) -> tuple[int, float]:
    """Resident bytes and CPU seconds of all processes of a session.

    A page that two of them share is counted twice, but for a child that still runs in its parent's memory. The CPU of a
    child that has ended is in its parent's.
    """
    found: dict[str, list[str]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - five times a second: no object for each name
        fields = _stat(entry) if entry.isdigit() else None
        if fields is not None and int(fields[_SESSION]) == session:
            found[entry] = fields
    resident = sum(int(f[_RESIDENT]) for f in found.values() if not _in_parents_memory(f, found.get(f[_PARENT])))
    ticks = sum(sum(map(int, fields[_TREE_CPU])) for fields in found.values())
    return resident * _PAGE, ticks / _TICKS


def _in_parents_memory(fields: list[str], parent: list[str] | None) -> bool:
    """Whether a process has been made by vfork(2), as a JVM begins another program, and is not that program yet: of one
    thread, with its parent's stack and, so far as two looks can tell, as much memory."""
    if parent is None or fields[_THREADS] != "1" or fields[_STACK] != parent[_STACK]:
        return False
    held, own = int(parent[_RESIDENT]), int(fields[_RESIDENT])
    return abs(own - held) <= _ALIKE * held


def processes_of(session: int) -> list[int]:
    """The ids of a session's processes."""
    listed = ((int(entry), _stat(entry)) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208
    return [pid for pid, fields in listed if fields is not None and int(fields[_SESSION]) == session]


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds of one process, all its threads; None where it is gone."""
    fields = _stat(str(pid))
    return sum(map(int, fields[_OWN_CPU])) / _TICKS if fields is not None else None


def machine_cpu_seconds() -> float:
    """CPU seconds this machine has not been idle since it started, over all its cores."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        numbers = [int(number) for number in file.readline().split()[1:]]
    # The time of guests is in the user's time already.
    return (sum(numbers[:_GUEST]) - sum(numbers[_IDLE])) / _TICKS


def name_of(pid: int) -> str | None:
    """The name of the process's program; None where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _stat(pid: str) -> list[str] | None:
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
