"""Cursors in local time: read in the zone the dataset names, reported where none is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from pydantic import JsonValue, ValidationError

from connectors.base import ReadPlan, ReadRequest, Window
from connectors.errors import UnsupportedType, UsageError
from connectors.mysql import AuroraSource, MySQLOptions
from connectors.mysql.windows.cursors import Cursor
from connectors.mysql.windows.window import without_repeated_hour
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.own_mariadb import OwnMariaDB

NEW_YORK = Cursor("at", "datetime", zone="America/New_York")


def published(plan: ReadPlan) -> dict[str, JsonValue]:
    assert plan.position is not None
    return {**plan.position, "watched": plan.watched}


def now_of(server: Server) -> datetime:
    found: datetime = server.run("SELECT UTC_TIMESTAMP(6)")[0][0]
    return found


def test_a_window_in_tokyo_ends_nine_hours_later(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME(6) NOT NULL, day DATE NOT NULL, KEY (at), KEY (day)")
    now = now_of(server)
    local = now + timedelta(hours=9)
    server.run(f"INSERT INTO {table} VALUES (1, %s, %s)", [local - timedelta(minutes=9), local.date()])
    dataset = server.dataset(table, "at", lag_seconds=60, cursor_time_zone="Asia/Tokyo")
    first = server.source().plan(dataset, None, None)
    end = str(first.window and first.window.end)
    assert str(local - timedelta(seconds=60)) <= end <= str(local)
    assert first.position == {"cursor": end, "time_zone": "Asia/Tokyo"}
    assert (first.warnings, sum(server.source().count(dataset, first).values())) == ((), 1)
    back = server.dataset(table, "at", lag_seconds=60, cursor_time_zone="Asia/Tokyo", lookback_seconds=3600)
    second = server.source().plan(back, published(first), None)
    assert (second.window and second.window.start) == end
    assert second.overlap_start == str(datetime.fromisoformat(end) - timedelta(hours=1))

    days = server.dataset(table, "day", lag_seconds=1, cursor_time_zone="Asia/Tokyo")
    plan = server.source().plan(days, None, None)
    assert plan.window == Window(start=None, end=str((local - timedelta(seconds=1)).date()))
    asked = server.source().plan(days, None, Window(start="2026-11-01T00:00:00+09:00", end="2026-11-02T15:00:00Z"))
    assert asked.window == Window(start="2026-11-01", end="2026-11-03")
    assert server.source().plan(days, None, Window(start="2026-11-01", end="2026-11-02")).window == Window(
        start="2026-11-01", end="2026-11-02"
    )
    with pytest.raises(UsageError, match="within a day, and the cursor day holds days of Asia/Tokyo"):
        server.source().plan(days, None, Window(start="2026-11-01T00:00:00Z"))


def test_an_asked_for_window_is_converted_and_holds_both_passes_of_an_hour(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at)")
    dataset = server.dataset(table, "at", cursor_time_zone="America/New_York")
    for start, end, local in (
        ("2025-07-01T12:00:00Z", "2025-07-01T22:00:00+09:00", ("2025-07-01 08:00", "2025-07-01 09:00")),
        # Clocks went back at 06:00 UTC.
        ("2025-11-02T04:00:00Z", "2025-11-02T05:00:00Z", ("2025-11-02 00:00", "2025-11-02 01:00")),
        ("2025-11-02T05:00:00Z", "2025-11-02T06:00:00Z", ("2025-11-02 01:00", "2025-11-02 02:00")),
        ("2025-11-02T06:00:00Z", "2025-11-02T07:00:00Z", ("2025-11-02 01:00", "2025-11-02 02:00")),
        ("2025-11-02T05:30:00Z", "2025-11-02T06:30:00Z", ("2025-11-02 01:00", "2025-11-02 02:00")),
    ):
        plan = server.source().plan(dataset, None, Window(start=start, end=end))
        assert plan.window == Window(start=f"{local[0]}:00.000000", end=f"{local[1]}:00.000000")


def test_a_window_asked_for_in_the_repeated_hour_ends_before_it() -> None:
    asked = Window(start="2026-11-01 00:00:00.000000", end="2026-11-01 01:50:00.000000")
    for minute, end in ((0, "01:00"), (59, "01:00")):
        # The first pass.
        window, warning = without_repeated_hour(NEW_YORK, asked, datetime(2026, 11, 1, 5, minute, 1))
        assert window.end == f"2026-11-01 {end}:00.000000"
        assert "go back" in str(warning)
    window, _ = without_repeated_hour(NEW_YORK, asked, datetime(2026, 11, 1, 6, 20))
    assert window.end == "2026-11-01 01:20:00.000000"
    for now in (datetime(2026, 11, 1, 4), datetime(2026, 11, 1, 7), datetime(2026, 7, 1)):
        assert without_repeated_hour(NEW_YORK, asked, now) == (asked, None)
    inside = Window(start="2026-11-01 01:10:00.000000", end="2026-11-01 01:50:00.000000")
    with pytest.raises(UsageError, match="go back"):
        without_repeated_hour(NEW_YORK, inside, datetime(2026, 11, 1, 5, 30))


def test_a_lookback_over_a_change_of_clocks_is_at_least_as_long() -> None:
    # Half past three after the spring change is an hour and a half after one o'clock.
    assert NEW_YORK.before("2026-03-08 03:30:00.000000", 3600) == "2026-03-08 01:30:00.000000"
    # The first pass of half past one, less an hour; the second one is covered as well.
    assert NEW_YORK.before("2026-11-01 01:30:00.000000", 3600) == "2026-11-01 00:30:00.000000"
    assert NEW_YORK.before("0001-01-01 00:00:00.000000", 3600) == "0001-01-01 00:00:00.000000"


def test_a_zone_that_comes_or_changes_has_the_whole_table_compared_once(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at)")
    local = now_of(server) - timedelta(hours=10)
    server.run(f"INSERT INTO {table} VALUES (1, %s)", [local - timedelta(hours=1)])
    plain, zoned = (server.dataset(table, "at", cursor_time_zone=zone) for zone in (None, "Pacific/Honolulu"))
    first = server.source().plan(plain, None, None)
    server.run(f"INSERT INTO {table} VALUES (2, %s)", [local - timedelta(minutes=1)])
    [warning] = server.source().plan(plain, published(first), None).warnings
    assert "1 row of" in warning
    assert "write cursor_time_zone with its IANA name" in warning
    second = server.source().plan(zoned, published(first), None)
    assert second.window is not None
    assert (second.window.start, second.overlap_start, second.overlaps_published) == (None, None, True)
    assert ["cursor_time_zone is Pacific/Honolulu and was UTC" in text for text in second.warnings] == [True]
    third = server.source().plan(zoned, published(second), None)
    assert (third.window and third.window.start, third.overlaps_published, third.warnings) == (
        second.window.end,
        False,
        (),
    )


def test_a_zone_where_none_can_be_is_refused(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, KEY (at)")
    for column in ("id", "at"):
        with pytest.raises(UnsupportedType, match="cursor_time_zone is for a cursor of local times") as caught:
            server.source().plan(server.dataset(table, column, cursor_time_zone="Asia/Tokyo"), None, None)
        assert caught.value.key == ("cursor_time_zone",)
    with pytest.raises(ValidationError, match="Asia/Tokyo"):
        MySQLOptions.model_validate({"table": "a.b", "cursor": "at", "cursor_time_zone": "Asia/Tokio"})
    with pytest.raises(ValidationError, match="needs a cursor"):
        MySQLOptions.model_validate({"table": "a.b", "cursor_time_zone": "Asia/Tokyo"})


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMariaDB]:
    """A server whose machine stands ten hours behind UTC."""
    server = OwnMariaDB(tmp_path_factory.mktemp("behind"), machine_zone="HST10")
    yield server
    server.stop()


@pytest.mark.services
def test_a_column_that_holds_the_servers_local_time_is_reported_at_once(behind: OwnMariaDB) -> None:
    behind.run("CREATE DATABASE shop")
    for name in ("local_times", "utc_times", "quiet", "days"):
        kind = "DATE" if name == "days" else "DATETIME"
        behind.run(f"CREATE TABLE shop.{name} (id INT PRIMARY KEY, at {kind} NOT NULL, KEY (at))")
    behind.run("INSERT INTO shop.local_times VALUES (1, NOW() - INTERVAL 1 DAY), (2, NOW())")
    behind.run("INSERT INTO shop.utc_times VALUES (1, UTC_TIMESTAMP() - INTERVAL 1 MINUTE)")
    behind.run("INSERT INTO shop.quiet VALUES (1, UTC_TIMESTAMP() - INTERVAL 3 DAY)")
    source = AuroraSource(behind.connection())

    def dataset(name: str, **more: object) -> ReadRequest:
        keys = {"table": f"shop.{name}", "cursor": "at", "lag_seconds": 1, **more}
        return ReadRequest("tests", name, ("id",), MySQLOptions.model_validate(keys))

    plan = source.plan(dataset("local_times"), None, None)
    [warning] = plan.warnings
    assert "the column seems to hold local time, and windows are in UTC, so nothing new is read" in warning
    assert "HST (UTC-10:00), write cursor_time_zone with its IANA name" in warning
    for name in ("utc_times", "quiet", "days"):
        assert source.plan(dataset(name), None, None).warnings == ()
    zoned = source.plan(dataset("local_times", cursor_time_zone="Pacific/Honolulu"), None, None)
    assert zoned.warnings == ()
    # Without a row that is new, the count of rows behind the position shows it.
    behind.run("INSERT INTO shop.local_times VALUES (3, NOW() - INTERVAL 1 HOUR)")
    behind.run("DELETE FROM shop.local_times WHERE id = 2")
    behind.run("INSERT INTO shop.local_times VALUES (4, NOW() - INTERVAL 2 HOUR)")
    assert any("came behind" in text for text in source.plan(dataset("local_times"), published(plan), None).warnings)
