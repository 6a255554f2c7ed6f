"""When runs of a pipeline begin: by a cron, or after datasets of other pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAny, CronDataIntervalTimetable

from jobs.spec import After
from lakeferry_airflow.assets import lake_asset

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.spec import PipelineSpec


def schedule_of(spec: PipelineSpec, settings: Settings) -> Any:
    if isinstance(spec.schedule, After):
        return AssetAny(*(lake_asset(name) for name in spec.schedule.after))
    if spec.schedule is None or not settings.schedules:
        return None
    # A plain cron string gives backfills an interval without length; this one gives them a window.
    return CronDataIntervalTimetable(spec.schedule, timezone="UTC")
