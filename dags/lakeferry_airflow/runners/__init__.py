"""Runners: how a stage is submitted, found again, waited for and stopped. One is chosen by a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from connectors.errors import SettingError

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.triggers.base import BaseTrigger

    from jobs.runs.receipts import Stage
    from jobs.runs.time_limits import TimeLimit
    from jobs.runtime.settings import Settings

PassLine = Callable[[str], None]
"""Takes one line of a job's output."""

Look = Callable[[], None]
"""Called between looks at a job, several times a second; ends the wait by what it raises."""

RUNNERS = {
    "local": "lakeferry_airflow.runners.local:LocalRunner",
    "emr_serverless": "lakeferry_airflow.runners.emr_serverless:EmrServerlessRunner",
}


@dataclass(frozen=True)
class Work:
    """One stage of one plan, to be run.

    `through` is the last stage the same process goes through. `attempt` begins at 1 and grows with
    each try. `connections` are variables with secrets: for the environment of a local process only.
    `limit` is how long the job may run; one that is adopted keeps the limit it was started with.
    """

    pipeline: str
    run_id: str
    stage: str
    plan_uri: str
    through: str | None
    attempt: int
    connections: Mapping[str, str] = field(default_factory=dict, repr=False)
    limit: TimeLimit | None = None


@dataclass(frozen=True)
class Ended:
    """How a job ended. `exit_code`: None if the runner cannot know it.

    `over_limit` says that it was stopped at its time limit.
    """

    succeeded: bool
    exit_code: int | None
    details: str
    over_limit: bool = False


class Runner(Protocol):
    """Submits stages. Errors are those of `connectors.errors`; none holds a secret."""

    through: ClassVar[Stage]
    """The stage as far as which the first Spark application goes."""

    needs_connections: ClassVar[bool]
    """Whether a job gets its connections from here; else it looks them up where it runs."""

    def __init__(self, settings: Settings) -> None: ...

    def submit(self, work: Work) -> str:
        """Start the job, or find the one that runs already; its id."""

    def wait(self, job_id: str, pass_line: PassLine, look: Look = lambda: None) -> Ended:
        """Block until it has ended, telling its output. What `look` raises leaves the job as it is."""

    def stop(self, job_id: str) -> None:
        """End it now, if it still runs."""

    def trigger(self, job_id: str, wait: timedelta | None = None) -> BaseTrigger | None:
        """What waits for it outside a worker; None where it is waited for in one, or has ended or passed its limit.

        Args:
            wait: after which Airflow resumes the task, and cancels a trigger that has not fired; None: it does not.
        """


def open_runner(settings: Settings) -> Runner:
    """The runner the settings name.

    Raises:
        SettingError: no runner has that name, or a setting that the runner needs is missing.
    """
    runner: Runner = _runner_class(settings)(settings)
    return runner


def first_application_through(settings: Settings) -> Stage:
    """The last stage of the first application under the runner the settings name; it is not opened."""
    through: Stage = _runner_class(settings).through
    return through


def _runner_class(settings: Settings) -> Any:
    try:
        module, name = RUNNERS[settings.runner].split(":")
    except KeyError:
        raise SettingError(
            f"LAKEFERRY_RUNNER={settings.runner} is not a runner", where="LAKEFERRY_RUNNER", choices=sorted(RUNNERS)
        ) from None
    return getattr(import_module(module), name)
