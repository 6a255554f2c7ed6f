"""When runs of a pipeline begin: by a cron, or after datasets of other pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAll, AssetAny, AssetOrTimeSchedule, CronDataIntervalTimetable

from jobs.spec.models import After
from lakeferry_airflow.assets import lake_asset

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings
    from jobs.spec.models import PipelineSpec


def schedule_of(spec: PipelineSpec, settings: Settings) -> Any:
    if not isinstance(spec.schedule, After):
        return _times(spec.schedule, spec, settings)
    followed = [lake_asset(name, settings) for name in spec.schedule.datasets]
    assets = AssetAll(*followed) if spec.schedule.after_all else AssetAny(*followed)
    times = _times(spec.schedule.cron, spec, settings)
    return AssetOrTimeSchedule(timetable=times, assets=assets) if times else assets


def _times(cron: str | None, spec: PipelineSpec, settings: Settings) -> CronDataIntervalTimetable | None:
    if cron is None or not settings.schedules:
        return None
    # A plain cron string gives backfills an interval without length; this one gives them a window.
    return CronDataIntervalTimetable(cron, timezone=spec.airflow.time_zone)
