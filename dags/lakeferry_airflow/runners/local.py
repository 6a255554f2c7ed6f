"""Stages as processes of this machine.

The process writes to a file and not to a pipe, and leads a group of its own: it outlives a task that
is killed outright, and the retry finds it by its id and goes on reading what it says.
"""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from connectors.errors import RunnerFailed
from jobs.launch.child_environment import inherited
from jobs.launch.commands import local_command, local_environment
from jobs.launch.processes import group_runs, has_ended, place, started_at, stop_group
from jobs.runs.exit_codes import OURS
from jobs.runs.plan_document import is_newer_plan
from jobs.runs.time_limits import TimeLimit
from jobs.runtime.driver_end import driver_end
from jobs.runtime.events import LOG_VARIABLE
from lakeferry_airflow.guards import START_ON_INPUT, start_guard
from lakeferry_airflow.runners import Ended, Look, PassLine, Work
from lakeferry_airflow.runners.local_jobs import LocalJob, job_file, locked, read_job, write_job
from lakeferry_airflow.runners.old_jobs import remove_old_jobs

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.triggers.base import BaseTrigger

    from jobs.runs.receipts import Stage
    from jobs.runtime.settings import Settings

_PAUSE_SECONDS = 0.2
# Airflow ends a task by SIGKILL five seconds after SIGTERM, and what runs must have ended by then.
_GRACE_SECONDS = 2.5
# Helpers of a process see it end and follow.
_ENDS_BY_ITSELF_SECONDS = 1.0
_END_BYTES = 65_536


class LocalRunner:
    """Runs a stage as a child process; the first Spark application goes through to load."""

    through: ClassVar[Stage] = "load"
    needs_connections: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.state_dir.absolute() / "jobs"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._guards: list[subprocess.Popen[bytes]] = []
        self._jobs: dict[str, LocalJob] = {}
        self._notes: list[str] = []
        self._waiter = uuid.uuid4().hex

    def submit(self, work: Work) -> str:
        """Start the process, or adopt that of an earlier try, which this try alone can stop from then on.

        A process on another host, or of a container that is gone, can be neither seen nor stopped from here. Another
        is started: two drivers of one plan are safe (docs/explanation/races.md).

        Raises:
            RunnerFailed: a process works for a newer plan of the run, so this try was given up as lost.
        """
        remove_old_jobs(self._folder)
        file = job_file(self._folder, work)
        with locked(file):
            earlier = read_job(file)
            if earlier is None and file.exists():
                self._notes.append(
                    f"The file of an earlier job, {file}, is damaged. This try starts its own process; should one of "
                    "an earlier try run, one of them works in vain."
                )
            elif earlier is not None and not earlier.is_here:
                self._notes.append(
                    f"Try {earlier.attempt} started process {earlier.pid} on {earlier.place.split()[0]}, which cannot "
                    "be seen from here. This try starts its own; should both run, one of them works in vain."
                )
            elif earlier is not None:
                if earlier.plan_uri == work.plan_uri and not has_ended(earlier.pid, earlier.started):
                    job = replace(earlier, attempt=work.attempt, waiter=self._waiter)
                    write_job(file, job)
                    self._jobs[str(file)] = job
                    return str(file)
                if is_newer_plan(earlier.plan_uri, work.plan_uri) and not has_ended(earlier.pid, earlier.started):
                    raise RunnerFailed(
                        f"process {earlier.pid} of try {earlier.attempt} works for a newer plan of this run",
                        pipeline=work.pipeline,
                        fix="Leave it: the next try of this task waits for it",
                    )
                # It works for an earlier plan, or was started by a process that was killed.
                stop_group(earlier.pid, earlier.started, grace_seconds=_GRACE_SECONDS)
            self._jobs[str(file)] = self._start(work, file)
        return str(file)

    def wait(self, job_id: str, pass_line: PassLine, look: Look = lambda: None) -> Ended:
        job = self._jobs.get(job_id) or read_job(Path(job_id))
        for note in self._notes:
            pass_line(note)
        self._notes.clear()
        if job is None:
            return Ended(False, None, f"nothing is known of the process of {job_id}")
        child = self._children.get(job.pid)
        if child is None:
            pass_line(f"Process {job.pid} of an earlier try still runs: waiting for it.")
        rest = b""
        with Path(job.output).open("rb") as output:
            while True:
                ended = child.poll() is not None if child else has_ended(job.pid, job.started)
                *lines, rest = (rest + output.read()).split(b"\n")
                for line in lines:
                    pass_line(line.decode(errors="replace"))
                if ended:
                    break
                look()
                time.sleep(_PAUSE_SECONDS)
        if rest:
            pass_line(rest.decode(errors="replace"))
        self._stop_rest(job, pass_line)
        over = job.ends_at is not None and time.time() >= job.ends_at
        if child is None:
            return Ended(not over, None, f"process {job.pid} of an earlier try ended", over_limit=over)
        code = child.returncode
        over = over and code != 0
        return Ended(code == 0, code, self._how(job, code, over), over_limit=over)

    def stop(self, job_id: str) -> None:
        """End the process that this runner started or adopted; one that a later try has adopted goes on."""
        file = Path(job_id)
        with locked(file):
            written = read_job(file)
            job = self._jobs.get(job_id) or written
            if job is None or not job.is_here:
                return
            if written is not None and written.is_process_of(job) and written.waiter != job.waiter:
                return
            stop_group(job.pid, job.started, grace_seconds=_GRACE_SECONDS)

    def trigger(self, job_id: str, wait: timedelta | None = None) -> BaseTrigger | None:
        return None

    def _stop_rest(self, job: LocalJob, pass_line: PassLine) -> None:
        """Stop what the process has started and left: a driver in Python goes on where its JVM was killed."""
        until = time.monotonic() + _ENDS_BY_ITSELF_SECONDS
        while group_runs(job.pid, job.started):
            if time.monotonic() >= until:
                pass_line(f"Process {job.pid} ended and left others that it had started: stopping them.")
                stop_group(job.pid, job.started, grace_seconds=_GRACE_SECONDS)
                return
            time.sleep(_PAUSE_SECONDS)

    def _start(self, work: Work, file: Path) -> LocalJob:
        command = local_command(work.stage, work.plan_uri, work.through, self._settings)
        environment = inherited(self._settings) | local_environment(self._settings) | dict(work.connections)
        path = file.with_suffix(f".{work.attempt}.log")
        path.write_bytes(b"")
        environment[LOG_VARIABLE] = str(path)
        # Two processes write to it, each at its end.
        with path.open("ab") as log:
            child = subprocess.Popen(
                # Once its process is written down: a task that dies before closes the pipe, and nothing has run.
                ["/bin/sh", "-c", START_ON_INPUT, "stage", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        assert child.stdin is not None
        with child.stdin:
            self._children[child.pid] = child
            job = LocalJob(
                pid=child.pid,
                started=started_at(child.pid) or "",
                plan_uri=work.plan_uri,
                output=str(path),
                place=place(),
                attempt=work.attempt,
                waiter=self._waiter,
                ends_at=time.time() + work.limit.seconds if work.limit else None,
            )
            write_job(file, job)
            if work.limit and job.ends_at is not None:
                self._guard(job, job.ends_at, work.limit)
            child.stdin.write(b"go\n")
        return job

    def _guard(self, job: LocalJob, ends_at: float, limit: TimeLimit) -> None:
        """Have the process stopped at its limit, even if the task that waits for it is gone."""
        with Path(job.output).open("ab") as log:
            guard = start_guard("time_guard.py", str(job.pid), job.started, str(ends_at), str(limit), output=log)
        self._guards.append(guard)

    def _how(self, job: LocalJob, code: int, over: bool) -> str:
        said = f"process {job.pid} ended with exit code {code}"
        if code < 0:
            said = f"process {job.pid} was ended by {signal.Signals(-code).name}"
        if over or code in OURS:
            return said
        memory, at_once = self._settings.spark_driver_memory, self._settings.datasets_in_parallel
        why = driver_end(code, _end_of(Path(job.output)), memory, at_once)
        return f"{said}: {why.problem}. {why.fix}" if why else said


def _end_of(path: Path) -> str:
    """The last lines of a log, as far as they say how a process ended."""
    with path.open("rb") as output:
        output.seek(max(0, path.stat().st_size - _END_BYTES))
        return output.read().decode(errors="replace")
