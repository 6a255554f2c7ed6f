"""Local time as a cursor: nothing is lost, doubled or put out of order when clocks change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connectors.mysql.windows.cursor_zone import earliest_instant, first_wall_from, last_wall_until, parse_zone, wall_at

HOUR = timedelta(hours=1)
ZONES = {
    # Days around a change of clocks: an hour, half an hour, at midnight, a day of the calendar left out or doubled.
    "America/New_York": [datetime(2026, 11, 1, 6), datetime(2026, 3, 8, 7)],
    "Australia/Lord_Howe": [datetime(2026, 4, 4, 15), datetime(2026, 10, 3, 15, 30)],
    "America/Sao_Paulo": [datetime(2018, 2, 18, 2), datetime(2018, 11, 4, 3)],
    "Atlantic/Azores": [datetime(2026, 10, 25, 1)],
    "Europe/Dublin": [datetime(2026, 10, 25, 1), datetime(2026, 3, 29, 1)],
    "Pacific/Apia": [datetime(2011, 12, 30, 10)],
    "Africa/Casablanca": [datetime(2026, 2, 15, 2), datetime(2026, 3, 22, 2)],
    "Asia/Tokyo": [datetime(2026, 11, 1)],
    "UTC": [datetime(2026, 11, 1)],
}


def shown(zone: str, instant: datetime) -> datetime:
    """Returns the time a clock shows, by the standard library alone."""
    return instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("utc", "first", "last"),
    [
        # New York's clocks go back at 06:00 UTC, from 02:00 to 01:00.
        ("2026-11-01 04:59:59", "2026-11-01 00:59:59", "2026-11-01 00:59:59"),
        ("2026-11-01 05:30:00", "2026-11-01 01:00:00", "2026-11-01 01:30:00"),
        ("2026-11-01 05:59:59", "2026-11-01 01:00:00", "2026-11-01 01:59:59"),
        ("2026-11-01 06:00:00", "2026-11-01 01:00:00", "2026-11-01 02:00:00"),
        ("2026-11-01 06:30:00", "2026-11-01 01:30:00", "2026-11-01 02:00:00"),
        ("2026-11-01 07:00:00", "2026-11-01 02:00:00", "2026-11-01 02:00:00"),
        ("2026-11-01 08:00:00", "2026-11-01 03:00:00", "2026-11-01 03:00:00"),
        # They go forward at 07:00 UTC, from 02:00 to 03:00.
        ("2026-03-08 06:59:59", "2026-03-08 01:59:59", "2026-03-08 01:59:59"),
        ("2026-03-08 07:00:00", "2026-03-08 03:00:00", "2026-03-08 03:00:00"),
    ],
)
def test_the_hour_that_comes_twice(utc: str, first: str, last: str) -> None:
    instant = datetime.fromisoformat(utc)
    assert str(first_wall_from("America/New_York", instant)) == first
    assert str(last_wall_until("America/New_York", instant)) == last


def test_other_zones() -> None:
    noon = datetime(2026, 11, 30, 12)
    assert first_wall_from("Asia/Tokyo", noon) == datetime(2026, 11, 30, 21)
    assert first_wall_from("Asia/Kathmandu", noon) == datetime(2026, 11, 30, 17, 45)
    assert first_wall_from("UTC", noon) == last_wall_until("UTC", noon) == noon
    # Lord Howe goes back by half an hour, from 02:00 to 01:30 at 15:00 UTC.
    assert first_wall_from("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 45)) == datetime(2026, 4, 5, 1, 30)
    # The Azores go back at midnight's end: the day before is not over for another hour.
    assert first_wall_from("Atlantic/Azores", datetime(2026, 10, 25, 0, 30)) == datetime(2026, 10, 25)
    assert earliest_instant("America/New_York", datetime(2026, 11, 1, 1, 30)) == datetime(2026, 11, 1, 5, 30)
    assert earliest_instant("America/New_York", datetime(2026, 3, 8, 2, 30)) == datetime(2026, 3, 8, 6, 30)
    for end in (datetime.min, datetime.max):
        for zone in ZONES:
            assert first_wall_from(zone, end) <= last_wall_until(zone, end)


@pytest.mark.parametrize("zone", sorted(ZONES))
def test_properties_around_each_change(zone: str) -> None:
    chance = random.Random(zone)
    for change in ZONES[zone]:
        instants = sorted(change + chance.uniform(-30, 30) * HOUR for _ in range(120))
        walls = [shown(zone, instant) for instant in instants]
        edges = [first_wall_from(zone, instant) for instant in instants]
        highest = [last_wall_until(zone, instant) for instant in instants]
        assert [wall_at(zone, instant) for instant in instants] == walls
        assert edges == sorted(edges), "an end goes back"
        assert highest == sorted(highest)
        for number, instant in enumerate(instants):
            assert all(wall >= edges[number] for wall in walls[number:]), "a row that comes later lies before the end"
            assert all(wall <= highest[number] for wall in walls[: number + 1])
            assert edges[number] <= walls[number] <= highest[number]
            assert first_wall_from(zone, earliest_instant(zone, walls[number])) <= walls[number]
            assert earliest_instant(zone, walls[number]) <= instant


@pytest.mark.parametrize("zone", sorted(ZONES))
def test_changes_of_rows_are_read_once_each_in_order(zone: str) -> None:
    """A table whose rows are stamped with local time, read by windows one after the other."""
    chance = random.Random(zone + "rows")
    for change in ZONES[zone]:
        table: dict[int, tuple[datetime, int]] = {}
        current: dict[int, tuple[datetime, int]] = {}
        start, now, version = datetime.min, change - 4 * HOUR, 0
        while now < change + 30 * HOUR:
            for _ in range(chance.randrange(4)):
                now += timedelta(minutes=chance.uniform(0, 9))
                version += 1
                table[chance.randrange(12)] = (shown(zone, now), version)
            now += timedelta(minutes=chance.uniform(0, 20))
            end = first_wall_from(zone, now)
            assert start <= end
            for key, (wall, number) in table.items():
                # A merge takes the higher version, by time.
                if start <= wall < end:
                    assert key not in current or current[key][0] <= wall, "an older version by time is the newer one"
                    current[key] = (wall, number)
            start = end
        settled = {key: row for key, row in table.items() if row[0] < start}
        assert {key: current.get(key) for key in settled} == settled


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Asia/Tokio", "Asia/Tokyo"),
        ("asia/tokyo", "Asia/Tokyo"),
        ("Tokyo", "Asia/Tokyo"),
        ("America/New York", "America/New_York"),
        ("+09:00", "Etc/GMT-9"),
        ("UTC-5", "Etc/GMT+5"),
        ("localtime", "IANA"),
        ("right/UTC", "IANA"),
        ("../etc/passwd", "IANA"),
        ("", "IANA"),
    ],
)
def test_a_zone_that_is_none_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(ValueError, match="not a time zone") as caught:
        parse_zone(name)
    assert near in str(caught.value)


def test_zones_that_are_known() -> None:
    for zone in (*ZONES, "Etc/GMT+5", "Asia/Kolkata"):
        assert parse_zone(zone) == zone
