"""Whether a dataset is as fresh as its schedule says it should be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from jobs.runtime.settings import Settings
from jobs.spec.models import After, DatasetSpec, PipelineSpec

Freshness = Literal["fresh", "late", "never", "unscheduled"]
MISSED = 2
"""So many of its scheduled times may pass before a dataset is late: one run may fail, or be under way."""


def freshness_of(
    spec: PipelineSpec, dataset: DatasetSpec, fresh_until: datetime | None, now: datetime, settings: Settings
) -> Freshness:
    """`late` where more than two times of the schedule have passed since what is here ended.

    A window ends `lag_seconds` before the run that reads it, by intention, so these do not count as delay.
    Where nothing starts the pipeline by the clock it is `unscheduled`; `never`: nothing was ever published.
    """
    cron = cron_of(spec) if settings.schedules else None
    if cron is None:
        return "unscheduled"
    if fresh_until is None:
        return "never"
    lag = timedelta(seconds=float(dataset.options.get("lag_seconds") or 0))
    times = _last_times(cron, now.astimezone(ZoneInfo(spec.airflow.time_zone)), MISSED + 1)
    return "late" if times[-1] > fresh_until + lag else "fresh"


def cron_of(spec: PipelineSpec) -> str | None:
    """The pipeline's cron line or preset; None where it has none."""
    return spec.schedule.cron if isinstance(spec.schedule, After) else spec.schedule


def _last_times(cron: str, now: datetime, count: int) -> list[datetime]:
    """The last times a schedule has had, newest first, in the zone of `now`."""
    from croniter import croniter

    # Airflow's preset; croniter has no name for it.
    times = croniter("0 0 1 */3 *" if cron == "@quarterly" else cron, now)
    return [times.get_prev(datetime) for _ in range(count)]
