"""A runner that runs nothing: each job does what the test says, which is to leave receipts and to end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lakeferry_airflow.runners import RUNNERS, Ended, Look, PassLine, Work

if TYPE_CHECKING:
    import pytest

    from jobs.runs.receipts import Stage
    from jobs.runtime.settings import Settings


@dataclass
class Job:
    """One job of the script.

    Attributes:
        does: called when the job is waited for: leaves receipts, or acts on the task (`on_kill`) in flight.
        ended: what the runner says of the end.
        lines: the job's output.
        refusal: raised by `submit` in place of a job.
        deferred: whether a trigger waits for it.
    """

    does: Callable[[], None]
    ended: Ended
    lines: tuple[str, ...] = ()
    refusal: Exception | None = None
    deferred: bool = False


@dataclass
class Script:
    """The jobs that come, in order, and what was asked of the runner. A submission beyond the script is a fault."""

    jobs: list[Job] = field(default_factory=list)
    submitted: list[Work] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)

    def then(
        self,
        does: Callable[[], None] = lambda: None,
        code: int | None = 0,
        details: str = "the job ended",
        known: bool = True,
        **fields: Any,
    ) -> None:
        """Add a job that does this and ends with this exit code.

        Code None is a job that failed under a runner that knows no codes (EMR). Where `known` is False, the process
        is that of an earlier try, of which the runner knows only that it ended.
        """
        ended = Ended(code == 0, code, details) if known else Ended(True, None, details)
        self.jobs.append(Job(does, ended, **fields))

    def goes_through(self, stage: Stage) -> None:
        """Have the first application end after this stage."""
        RunnerDouble.through = stage

    def gives_connections(self) -> None:
        """Have jobs get their connections from the task."""
        RunnerDouble.needs_connections = True

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this the runner that the settings name."""
        monkeypatch.setattr(RunnerDouble, "script", self)
        monkeypatch.setattr(RunnerDouble, "through", "load")
        monkeypatch.setattr(RunnerDouble, "needs_connections", False)
        monkeypatch.setitem(RUNNERS, "local", f"{RunnerDouble.__module__}:{RunnerDouble.__qualname__}")


class RunnerDouble:
    """Plays the script. Job n, from 1, has the id `job-n`."""

    script: ClassVar[Script] = Script()
    through: ClassVar[Stage] = "load"
    needs_connections: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        pass

    def submit(self, work: Work) -> str:
        self.script.submitted.append(work)
        number = len(self.script.submitted)
        assert number <= len(self.script.jobs), f"a job that the test does not expect: {work}"
        refusal = self.script.jobs[number - 1].refusal
        if refusal is not None:
            raise refusal
        return f"job-{number}"

    def wait(self, job_id: str, pass_line: PassLine, look: Look = lambda: None) -> Ended:
        job = self._job(job_id)
        for line in job.lines:
            pass_line(line)
        look()
        job.does()
        look()
        return job.ended

    def stop(self, job_id: str) -> None:
        self.script.stopped.append(job_id)

    def trigger(self, job_id: str, wait: timedelta | None = None) -> BaseTrigger | None:
        assert wait is not None, "a stage looks after a wait"
        self.script.waits.append(wait)
        return TriggerDouble(job_id) if self._job(job_id).deferred else None

    def _job(self, job_id: str) -> Job:
        return self.script.jobs[int(job_id.removeprefix("job-")) - 1]


class TriggerDouble(BaseTrigger):
    """Fires at once."""

    def __init__(self, job_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{TriggerDouble.__module__}.{TriggerDouble.__qualname__}", {"job_id": self.job_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent({"job_id": self.job_id})  # type: ignore[no-untyped-call]
