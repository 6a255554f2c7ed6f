"""Stages as processes of this machine.

The process writes to a file and not to a pipe, and leads a group of its own: it outlives a task that
is killed outright, and the retry finds it by its id and goes on reading what it says.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from jobs.driver_end import driver_end
from jobs.exit_codes import OURS
from jobs.processes import has_ended, started_at, stop_group
from jobs.receipts import safe_run_id
from jobs.submit import local_command, local_environment
from lakeferry_airflow.runners import Ended, Look, Tell, Work

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from jobs.receipts import Stage
    from jobs.settings import Settings

_PAUSE_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_END_BYTES = 65_536


@dataclass(frozen=True)
class _Process:
    """`started` tells the process from a later one that got the same id."""

    pid: int
    started: str
    plan_uri: str
    output: str


class LocalRunner:
    """Runs a stage as a child process; the first Spark application goes through to load."""

    through: ClassVar[Stage] = "load"
    needs_connections: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.state_dir.absolute() / "jobs"
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def submit(self, work: Work) -> str:
        job = self._job_file(work)
        earlier = self._read(job)
        if earlier is not None and not has_ended(earlier.pid, earlier.started):
            if earlier.plan_uri == work.plan_uri:
                return str(job)
            stop_group(earlier.pid, earlier.started, grace_seconds=_GRACE_SECONDS)
        command = local_command(work.stage, work.plan_uri, work.through, self._settings)
        environment = os.environ | local_environment(self._settings) | dict(work.connections)
        job.parent.mkdir(parents=True, exist_ok=True)
        output = job.with_suffix(f".{work.attempt}.log")
        with output.open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._children[child.pid] = child
        process = _Process(child.pid, started_at(child.pid) or "", work.plan_uri, str(output))
        draft = job.with_suffix(".part")
        draft.write_text(json.dumps(asdict(process)), encoding="utf-8")
        draft.replace(job)
        return str(job)

    def wait(self, job_id: str, tell: Tell, look: Look = lambda: None) -> Ended:
        process = self._read(Path(job_id))
        if process is None:
            return Ended(False, None, f"nothing is known of the process of {job_id}")
        child = self._children.get(process.pid)
        if child is None:
            tell(f"Process {process.pid} of an earlier try still runs: waiting for it.")
        rest = b""
        with Path(process.output).open("rb") as output:
            while True:
                ended = child.poll() is not None if child else has_ended(process.pid, process.started)
                *lines, rest = (rest + output.read()).split(b"\n")
                for line in lines:
                    tell(line.decode(errors="replace"))
                if ended:
                    break
                look()
                time.sleep(_PAUSE_SECONDS)
        if rest:
            tell(rest.decode(errors="replace"))
        if child is None:
            return Ended(True, None, f"process {process.pid} of an earlier try ended")
        return Ended(child.returncode == 0, child.returncode, self._how(process, child.returncode))

    def stop(self, job_id: str) -> None:
        process = self._read(Path(job_id))
        if process is not None:
            stop_group(process.pid, process.started, grace_seconds=_GRACE_SECONDS)

    def trigger(self, job_id: str) -> BaseTrigger | None:
        return None

    def _job_file(self, work: Work) -> Path:
        # A run id may be longer than a file name: its hash keeps names apart, its beginning is for people.
        run = safe_run_id(work.run_id)[:60] + "-" + hashlib.sha256(work.run_id.encode()).hexdigest()[:12]
        return self._folder / work.pipeline / run / f"{work.stage}.json"

    @staticmethod
    def _read(job: Path) -> _Process | None:
        try:
            return _Process(**json.loads(job.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def _how(self, process: _Process, code: int) -> str:
        said = f"process {process.pid} ended with exit code {code}"
        if code < 0:
            said = f"process {process.pid} was ended by {signal.Signals(-code).name}"
        if code in OURS:
            return said
        memory, at_once = self._settings.spark_driver_memory, self._settings.datasets_in_parallel
        why = driver_end(code, _end_of(Path(process.output)), memory, at_once)
        return f"{said}: {why.problem}. {why.fix}" if why else said


def _end_of(path: Path) -> str:
    """The last lines of a log, as far as they say how a process ended."""
    with path.open("rb") as output:
        output.seek(max(0, path.stat().st_size - _END_BYTES))
        return output.read().decode(errors="replace")
