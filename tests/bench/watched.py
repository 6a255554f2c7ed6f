"""A command in a session of its own, watched from outside: seconds, peak memory and CPU of all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from tests.bench.proc import machine_cpu_seconds, processes_of, session_usage

SAMPLE_SECONDS = 0.2


class ContenderFailed(Exception):
    """A contender did not come to its end; the message is what its row says."""


@dataclass(frozen=True)
class Sample:
    """A session at a moment (seconds since the epoch); CPU seconds are those since its start."""

    at: float
    resident_bytes: int
    cpu_seconds: float


@dataclass(frozen=True)
class Watched:
    """What a command took. `began` and `ended` are seconds since the epoch; `others_cpu_seconds` is what all
    other processes of the machine used meanwhile, the server's and this one's apart: the noise."""

    code: int
    began: float
    ended: float
    cpu_seconds: float
    server_cpu_seconds: float | None
    others_cpu_seconds: float
    samples: tuple[Sample, ...]
    output: Path
    errors: Path

    @property
    def wall_seconds(self) -> float:
        return self.ended - self.began

    def peak_bytes(self, until: float | None = None) -> int:
        """The most memory all its processes held at once, up to a moment."""
        seen = (sample.resident_bytes for sample in self.samples if until is None or sample.at <= until)
        return max(seen, default=0)

    def cpu_until(self, moment: float) -> float:
        """CPU seconds used up to a moment."""
        return max((sample.cpu_seconds for sample in self.samples if sample.at <= moment), default=0.0)

    def said(self) -> list[str]:
        """All lines of its output, then of its errors: under spark-submit Python's errors are output."""
        texts = (path.read_text(encoding="utf-8", errors="replace") for path in (self.output, self.errors))
        return [line.strip() for text in texts for line in text.splitlines() if line.strip()]

    def reason(self) -> str:
        """Why it failed, in a line: the last that speaks of an error, else the last."""
        lines = self.said()
        if any("java.lang.OutOfMemoryError" in line for line in lines):
            return "out of memory (java.lang.OutOfMemoryError)"
        errors = [line for line in lines if "Error" in line or "Exception" in line]
        return f"exit code {self.code}: {(errors or lines or ['it said nothing'])[-1][:300]}"


def watch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    limit_seconds: float,
    server_cpu: Callable[[], float | None],
    cwd: Path | None = None,
) -> Watched:
    """Run a command to its end.

    Args:
        environment: all of it.
        log: where its output goes, with the endings `.out` and `.err`.
        server_cpu: CPU seconds of the database server up to now; None where it cannot be seen.

    Raises:
        ContenderFailed: it took longer than the limit and was stopped.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output, errors = log.with_suffix(".out"), log.with_suffix(".err")
    with output.open("wb") as out, errors.open("wb") as err:
        machine, server, own = machine_cpu_seconds(), server_cpu(), time.process_time()
        began = time.time()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
        samples: list[Sample] = []
        done = Event()
        sampler = Thread(target=_sample, args=(process.pid, began + limit_seconds, done, samples))
        sampler.start()
        try:
            # Not process.wait: that does not tell what the process and the children it waited for used.
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            _end(process.pid)
            raise
        finally:
            ended = time.time()
            done.set()
            sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    _end(process.pid)
    if ended - began >= limit_seconds:
        raise ContenderFailed(f"stopped after {limit_seconds:.0f} s")
    after = server_cpu()
    # Only the samples know of children that a process leaves behind, as Spark does Python's workers.
    cpu = max(used.ru_utime + used.ru_stime, *(sample.cpu_seconds for sample in samples))
    served = after - server if after is not None and server is not None else None
    spent = machine_cpu_seconds() - machine
    others = spent - cpu - (served or 0.0) - (time.process_time() - own)
    return Watched(
        code=process.returncode,
        began=began,
        ended=ended,
        cpu_seconds=cpu,
        server_cpu_seconds=served,
        others_cpu_seconds=max(others, 0.0),
        samples=tuple(samples),
        output=output,
        errors=errors,
    )


def _sample(session: int, deadline: float, done: Event, samples: list[Sample]) -> None:
    while True:
        samples.append(Sample(time.time(), *session_usage(session)))
        if time.time() >= deadline:
            _end(session)
            return
        if done.wait(SAMPLE_SECONDS):
            return


def _end(session: int) -> None:
    """Kill what is left of a session: only processes that the command itself began are in it."""
    for pid in processes_of(session):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
