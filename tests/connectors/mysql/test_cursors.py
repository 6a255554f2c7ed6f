"""Cursors other than a time on every row: days, numbers, several columns, rows without a value, rows ahead of time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connectors.base import ReadPlan, Window
from connectors.errors import ObjectNotFound, UnsupportedType, UsageError
from connectors.mysql.windows.cursors import Cursor
from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from connectors.base import ReadRequest


def ids(server: Server, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan) -> list[int]:
    return sorted(row.id for row in server.source().read(spark, dataset, plan).collect())


def test_days_are_read_once_they_are_over(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, day DATE NOT NULL, KEY (day)")
    server.run(
        f"INSERT INTO {table} VALUES (1, UTC_DATE() - INTERVAL 2 DAY), (2, UTC_DATE() - INTERVAL 1 DAY),"
        " (3, UTC_DATE() - INTERVAL 1 DAY), (4, UTC_DATE() + INTERVAL 1 DAY)"
    )
    dataset = server.dataset(table, "day", lag_seconds=1)
    [(today, yesterday)] = server.run("SELECT UTC_DATE(), UTC_DATE() - INTERVAL 1 DAY")
    first = server.source().plan(dataset, None, None)
    # Within a second of midnight yesterday is not over by the lag.
    assert first.position in ({"cursor": str(today)}, {"cursor": str(yesterday)})
    if first.position == {"cursor": str(today)}:
        assert ids(server, spark, dataset, first) == [1, 2, 3]
    server.run(f"INSERT INTO {table} VALUES (5, '{yesterday}')")
    second = server.source().plan(dataset, {"cursor": str(yesterday)}, None)
    assert second.window == Window(start=str(yesterday), end=str(first.position["cursor"]))
    asked = server.source().plan(dataset, None, Window(start=str(yesterday), end=str(today)))
    assert ids(server, spark, dataset, asked) == [2, 3, 5]
    with pytest.raises(UsageError, match="within a day"):
        server.source().plan(dataset, None, Window(start=f"{yesterday}T12:00:00Z"))


def test_an_id_is_read_once_no_lower_one_can_come(aurora: Server, spark: SparkSession) -> None:
    table = aurora.table("id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, note INT")
    aurora.run(f"INSERT INTO {table} (note) VALUES (1), (2)")
    dataset = aurora.dataset(table, "id", lag_seconds=1)
    first = aurora.source().plan(dataset, None, None)
    assert (first.window, first.position) == (Window(start=None, end="3"), {"cursor": "3"})
    writer = aurora.connect()
    with writer.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} (note) VALUES (3)")
    aurora.run(f"INSERT INTO {table} (note) VALUES (4)")
    held = aurora.source().plan(dataset, first.position, None)
    assert (held.slices, held.position) == ((), {"cursor": "3"})
    assert any("may still commit a lower id" in warning for warning in held.warnings)
    assert held.waiting is not None
    assert "may still commit a lower id" in held.waiting
    writer.commit()
    writer.close()
    second = aurora.source().plan(dataset, held.position, None)
    assert second.window == Window(start="3", end="5")
    assert ids(aurora, spark, dataset, second) == [3, 4]
    asked = aurora.source().plan(dataset, None, Window(start="2", end="4"))
    assert ids(aurora, spark, dataset, asked) == [2, 3]
    with pytest.raises(UsageError, match="not a whole number"):
        aurora.source().plan(dataset, None, Window(start="1 OR 1=1"))


@pytest.mark.parametrize("text", ["--5", "1e3", "１０００", "9" * 21, "9" * 5000, " 1", "1\n", "", "-"])
def test_what_is_no_number_is_refused_for_a_cursor_of_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="is not a whole number"):
        Cursor("id", "number").asked_for("start", text)


@pytest.mark.parametrize(
    ("id_column", "refused"),
    [
        ("BIGINT AUTO_RANDOM PRIMARY KEY", True),
        ("BIGINT AUTO_INCREMENT PRIMARY KEY", True),
        ("BIGINT PRIMARY KEY", False),
    ],
)
def test_ids_that_tidb_hands_out_in_no_order_are_refused(tidb: Server, id_column: str, refused: bool) -> None:
    table = tidb.table(f"id {id_column}, note INT")
    dataset = tidb.dataset(table, "id")
    if refused:
        with pytest.raises(UnsupportedType, match="in no order"):
            tidb.source().plan(dataset, None, None)
    else:
        tidb.run(f"INSERT INTO {table} VALUES (7, 1)")
        assert tidb.source().plan(dataset, None, None).position == {"cursor": "8"}


def test_of_several_columns_the_first_makes_windows_and_all_order_versions(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, revision INT, updated_at DATETIME NOT NULL, KEY (updated_at)")
    server.run(f"INSERT INTO {table} VALUES (1, 1, '2026-01-01')")
    dataset = server.dataset(table, ["updated_at", "revision"])
    plan = server.source().plan(dataset, None, None)
    assert plan.window is not None
    assert str(plan.window.end) > "2026-01-01"
    assert server.source().version_columns(dataset) == ("updated_at", "revision")
    with pytest.raises(ObjectNotFound, match="cursor 'gone' is not a column"):
        server.source().plan(server.dataset(table, ["updated_at", "gone"]), None, None)


def test_rows_without_a_cursor_value_are_read_every_time_or_set_aside(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, updated_at DATETIME(6), KEY (updated_at)")
    server.run(f"INSERT INTO {table} VALUES (1, NULL), (2, '2026-01-01'), (3, '2026-01-02')")
    included = server.dataset(table, "updated_at", null_cursors="include")
    plan = server.source().plan(included, {"cursor": "2026-01-02 00:00:00.000000"}, None)
    assert plan.overlaps_published
    assert ids(server, spark, included, plan) == [1, 3]
    assert sum(server.source().count(included, plan).values()) == 2
    backfill = server.source().plan(included, None, Window(start="2026-01-01", end="2026-01-02"))
    assert ids(server, spark, included, backfill) == [2]

    aside = server.dataset(table, "updated_at", null_cursors="quarantine")
    plan = server.source().plan(aside, {"cursor": "2026-01-02 00:00:00.000000"}, None)
    rows = {row.id: row._rejected for row in server.source().read(spark, aside, plan).collect()}
    assert rows[3] is None
    assert rows[1].reason == "updated_at: NULL, so no window holds the row"
    assert '"id":"1"' in rows[1].record


def test_rows_ahead_of_time_are_told_and_wait(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, updated_at DATETIME NOT NULL, KEY (updated_at)")
    server.run(f"INSERT INTO {table} VALUES (1, UTC_TIMESTAMP() + INTERVAL 1 DAY), (2, '2026-01-01')")
    plan = server.source().plan(server.dataset(table, "updated_at"), None, None)
    assert any(warning.startswith("1 row lies in the future by updated_at") for warning in plan.warnings)


def test_a_writer_in_another_time_zone_moves_no_window(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, seen_at TIMESTAMP(3) NOT NULL, KEY (seen_at)")
    writer = server.connect()
    with writer.cursor() as cursor:
        # An hour ago as a clock in Tokyo shows it, eight hours ahead of what it is in UTC.
        cursor.execute("SET time_zone = '+09:00'")
        cursor.execute(f"INSERT INTO {table} VALUES (1, NOW(3) - INTERVAL 1 HOUR)")
    writer.close()
    [(now,)] = server.run("SELECT UTC_TIMESTAMP(6)")
    dataset = server.dataset(table, "seen_at")
    start = (now - timedelta(hours=2)).isoformat(sep=" ", timespec="microseconds")
    plan = server.source().plan(dataset, {"cursor": start}, None)
    assert ids(server, spark, dataset, plan) == [1]
