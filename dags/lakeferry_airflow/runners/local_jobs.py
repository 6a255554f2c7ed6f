"""The files of local jobs: which process works for a stage of a run, where, and which try waits for it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.launch.processes import place
from jobs.runs.receipts import safe_run_id

if TYPE_CHECKING:
    from lakeferry_airflow.runners import Work

_PID_BITS = 32
_TEXTS = ("started", "plan_uri", "output", "place", "waiter")


@dataclass(frozen=True)
class LocalJob:
    """One process. A file of an earlier version has only the first four.

    Attributes:
        started: when the process began; a later one may get the same id.
        output: the file it writes to.
        place: where its id means this process (`jobs.launch.processes.place`).
        attempt: the try of the task that waits for it, for people.
        waiter: that try, by a name of its own: another one must not end the process.
        ends_at: when it is stopped, in seconds since the epoch; None for no limit.
    """

    pid: int
    started: str
    plan_uri: str
    output: str
    place: str = ""
    attempt: int = 0
    waiter: str = ""
    ends_at: float | None = None

    @property
    def is_here(self) -> bool:
        """Whether its id can be looked up from this process."""
        return self.place in ("", place())

    def is_process_of(self, other: LocalJob) -> bool:
        """Whether both are the same process."""
        return (self.pid, self.started, self.place) == (other.pid, other.started, other.place)


def job_file(folder: Path, work: Work) -> Path:
    """The file of the job of a stage of a run."""
    # A run id may be longer than a file name: its hash keeps names apart, its beginning is for people.
    run = safe_run_id(work.run_id)[:60] + "-" + hashlib.sha256(work.run_id.encode()).hexdigest()[:12]
    return folder / work.pipeline / run / f"{work.stage}.json"


def read_job(path: Path) -> LocalJob | None:
    """The job of a file; None where there is no file, or a damaged one, by which nobody can find a process.

    Fields of a later version are ignored.
    """
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(written, dict):
        return None
    known = {field.name: written[field.name] for field in fields(LocalJob) if field.name in written}
    required = [field.name for field in fields(LocalJob) if field.default is MISSING]
    texts = [value for name, value in known.items() if name in _TEXTS]
    whole = (
        all(name in known for name in required)
        and all(isinstance(value, str) for value in texts)
        and type(known["pid"]) is int
        and known["pid"].bit_length() < _PID_BITS
        and type(known.get("attempt", 0)) is int
        and isinstance(known.get("ends_at"), int | float | None)
    )
    return LocalJob(**known) if whole else None


def write_job(path: Path, job: LocalJob) -> None:
    """Write the file, as a whole or not at all, also where the machine loses its power (rename(2), fsync(2))."""
    draft = path.with_suffix(".part")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(job)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other tries from starting, adopting or stopping the job of this file meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
