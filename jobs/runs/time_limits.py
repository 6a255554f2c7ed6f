"""How long a task or a run may take: what the pipeline's YAML says, else the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings
    from jobs.spec.models import PipelineSpec

_RUN_STAGES = 2
"""A run may take as long as two stages where nothing says how long: one of them may fail late and be tried again."""


@dataclass(frozen=True)
class TimeLimit:
    """A limit in seconds, and where it stands: a setting, or a key of a file."""

    seconds: float
    set_by: str

    @property
    def delta(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    def passed(self, what: str) -> str:
        """A sentence about what took too long, with the limit and where it is raised."""
        return f"{what} was stopped after {self}, its time limit. If it needs longer, raise {self.set_by}"

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        if seconds:
            return f"{round(self.seconds)} s"
        return f"{minutes // 60} h" if minutes % 60 == 0 and minutes else f"{minutes} min"


class TimeLimits(NamedTuple):
    """The limits of one pipeline: of its task `plan`, of each task of a stage, of a run."""

    plan: TimeLimit
    stage: TimeLimit
    run: TimeLimit


def time_limits(spec: PipelineSpec, settings: Settings) -> TimeLimits:
    """The limits that hold for a pipeline. A run's limit, where neither says one, is twice that of a stage."""
    written = spec.airflow.timeouts
    plan = _limit(written.plan, settings.plan_timeout_minutes, "plan", spec)
    stage = _limit(written.stage, settings.stage_timeout_minutes, "stage", spec)
    if written.run is None and settings.run_timeout_minutes is None:
        run = TimeLimit(
            max(_RUN_STAGES * stage.seconds, plan.seconds + stage.seconds),
            f"airflow.timeouts.run in {spec.file} or LAKEFERRY_RUN_TIMEOUT_MINUTES",
        )
    else:
        run = _limit(written.run, settings.run_timeout_minutes or 0, "run", spec)
    return TimeLimits(plan, stage, run)


def _limit(written: int | None, minutes: int, key: str, spec: PipelineSpec) -> TimeLimit:
    own = f"airflow.timeouts.{key} in {spec.file or spec.pipeline}"
    if written is not None:
        return TimeLimit(written * 60.0, own)
    return TimeLimit(minutes * 60.0, f"LAKEFERRY_{key.upper()}_TIMEOUT_MINUTES, or set {own}")
