"""A schedule that a spec may hold starts runs in Airflow when it says."""

from __future__ import annotations

import pytest
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import datetime

from jobs.spec.schedules import cron_problem


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("*/100 * * * *", ["01-01 01:00", "01-01 02:00"]),
        ("1/100 * * * *", ["01-01 00:01", "01-01 01:01"]),
        ("0 */24 * * *", ["01-02 00:00", "01-03 00:00"]),
        ("0 0 */100 * *", ["02-01 00:00", "03-01 00:00"]),
        ("000 3 * * *", ["01-01 03:00", "01-02 03:00"]),
        ("0 0007 * * 0001", ["01-01 07:00", "01-08 07:00"]),
        ("0 0 ? * ?", ["01-02 00:00", "01-03 00:00"]),
        ("@midnight", ["01-02 00:00", "01-03 00:00"]),
        ("@annually", ["01-01 00:00", "01-01 00:00"]),
        ("@Daily", ["01-02 00:00", "01-03 00:00"]),
        ("@quarterly", ["04-01 00:00", "07-01 00:00"]),
    ],
)
def test_what_airflow_runs_as_written(text: str, times: list[str]) -> None:
    assert cron_problem(text) is None
    timetable = CronDataIntervalTimetable(text, timezone="UTC")
    timetable.validate()
    first = timetable._get_next(datetime(2024, 1, 1))
    assert [time.strftime("%m-%d %H:%M") for time in (first, timetable._get_next(first))] == times
