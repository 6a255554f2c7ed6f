"""Windows on the cursor: half-open, bounded by the server's clock and by open transactions."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connectors.base import ReadPlan, Window
from connectors.errors import CheckFailed, ObjectNotFound, SourceMoved, UnsupportedType, UsageError
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = "id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, seen_at TIMESTAMP(3) NULL, KEY (updated_at)"


def times_of(server: Server, spark: SparkSession, table: str, plan: ReadPlan) -> list[int]:
    dataset = server.dataset(table, "updated_at")
    return sorted(row.id for row in server.source().read(spark, dataset, plan).collect())


def test_a_window_holds_its_start_and_not_its_end(server: Server, spark: SparkSession) -> None:
    table = server.table(COLUMNS)
    for n, at in enumerate(("09:59:59.999999", "10:00:00", "10:59:59.999999", "11:00:00")):
        server.run(f"INSERT INTO {table} (id, updated_at) VALUES (%s, %s)", [n, f"2026-11-20 {at}"])
    dataset = server.dataset(table, "updated_at")
    window = Window(start="2026-11-20T19:00:00+09:00", end="2026-11-20T11:00:00Z")
    plan = server.source().plan(dataset, {"cursor": "2026-11-20 12:00:00.000000"}, window)
    assert plan.window == Window(start="2026-11-20 10:00:00.000000", end="2026-11-20 11:00:00.000000")
    assert plan.position is None
    assert times_of(server, spark, table, plan) == [1, 2]


def test_a_whole_second_cursor_is_compared_to_the_microsecond(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL, KEY (updated_at)")
    server.run(f"INSERT INTO {table} VALUES (0, '2026-11-20 10:00:00'), (1, '2026-11-20 10:00:01')")
    window = Window(start="2026-11-20T10:00:00.400000", end="2026-11-20T10:00:01.600000")
    plan = server.source().plan(server.dataset(table, "updated_at"), None, window)
    assert times_of(server, spark, table, plan) == [1]


def test_the_window_ends_at_the_servers_clock_less_the_lag(server: Server) -> None:
    table = server.table(COLUMNS)
    [(before,)] = server.run("SELECT UTC_TIMESTAMP(6)")
    plan = server.source().plan(server.dataset(table, "updated_at", lag_seconds=600), None, None)
    [(after,)] = server.run("SELECT UTC_TIMESTAMP(6)")
    assert plan.window is not None
    assert plan.window.start is None
    lag = timedelta(seconds=600)
    assert str(before - lag) <= str(plan.window.end) <= str(after - lag)
    assert plan.position == {"cursor": plan.window.end}


def test_an_open_transaction_holds_the_window_back(server: Server, spark: SparkSession) -> None:
    table = server.table(COLUMNS)
    dataset = server.dataset(table, "updated_at")
    writer = server.connect()
    with writer.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} (id, updated_at) VALUES (1, UTC_TIMESTAMP(6))")
    server.run(f"INSERT INTO {table} (id, updated_at) VALUES (2, UTC_TIMESTAMP(6))")
    # Time itself is under test here: the transaction must be older than the lag, then both rows must be.
    server.run("DO SLEEP(2.1)")
    first = server.source().plan(dataset, None, None)
    assert any("oldest open transaction: it is open since" in warning for warning in first.warnings)
    writer.commit()
    writer.close()
    [(committed,)] = server.run("SELECT UTC_TIMESTAMP(6)")
    second = first
    until = time.monotonic() + 60
    # Its lag must pass, and transactions of others on this server hold it back, too.
    while str(second.window and second.window.end) <= str(committed):
        assert time.monotonic() < until, second.warnings
        second = server.source().plan(dataset, first.position, None)
    assert times_of(server, spark, table, first) == []
    assert times_of(server, spark, table, second) == [1, 2]


def test_a_row_stamped_before_its_transaction_began_is_read_once_committed(server: Server, spark: SparkSession) -> None:
    table = server.table(COLUMNS)
    dataset = server.dataset(table, "updated_at", lag_seconds=3)
    writer = server.connect()
    with writer.cursor() as cursor:
        # The application takes its own clock, and its transaction begins two seconds later.
        cursor.execute("SELECT UTC_TIMESTAMP(6)")
        [(stamp,)] = cursor.fetchall()
        cursor.execute("DO SLEEP(2)")
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} (id, updated_at) VALUES (1, %s)", [stamp])
    server.run("DO SLEEP(2.5)")
    first = server.source().plan(dataset, None, None)
    writer.commit()
    writer.close()
    assert str(first.window and first.window.end) < str(stamp), "the window ended after a row that was not committed"
    window = Window(start=str(first.window and first.window.end), end=str(stamp + timedelta(microseconds=1)))
    assert times_of(server, spark, table, server.source().plan(dataset, None, window)) == [1]


def test_a_position_never_goes_back(server: Server) -> None:
    table = server.table(COLUMNS)
    position = {"cursor": "2999-01-01 00:00:00.000000"}
    plan = server.source().plan(server.dataset(table, "updated_at"), position, None)
    assert plan.position == position
    assert plan.slices == ()


def test_without_a_cursor_the_whole_table_is_read(server: Server, spark: SparkSession) -> None:
    table = server.table(COLUMNS)
    server.run(f"INSERT INTO {table} (id, updated_at) VALUES (1, '0000-00-00'), (2, '2999-01-01')")
    dataset = server.dataset(table)
    plan = server.source().plan(dataset, {"cursor": "2026-01-01 00:00:00.000000"}, None)
    assert (plan.window, plan.position, len(plan.slices)) == (None, {}, 1)
    assert server.source().read(spark, dataset, plan).count() == 2
    with pytest.raises(UsageError, match="no cursor"):
        server.source().plan(dataset, None, Window(start="2026-01-01", end="2026-01-02"))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(start="2026-01-02", end="2026-01-01"), "is not before its end"),
        (Window(start="2026-01-01T00:00:00Z", end="2026-01-01T09:00:00+09:00"), "is not before its end"),
        (Window(start="yesterday", end="2026-01-01"), "'yesterday' is not an ISO 8601 time"),
        (Window(start="2026-01-01' OR 1=1 -- ", end=None), "is not an ISO 8601 time"),
    ],
)
def test_a_window_that_is_none_is_refused(aurora: Server, window: Window, message: str) -> None:
    table = aurora.table(COLUMNS)
    with pytest.raises(UsageError, match=message) as caught:
        aurora.source().plan(aurora.dataset(table, "updated_at"), None, window)
    assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")


def test_rows_without_a_cursor_value_are_counted_and_refused(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, updated_at DATETIME(6), KEY (updated_at)")
    server.run(f"INSERT INTO {table} VALUES (1, NULL), (2, NULL), (3, '2026-01-01')")
    with pytest.raises(CheckFailed, match=r"2 rows .* have no updated_at") as caught:
        server.source().plan(server.dataset(table, "updated_at"), None, None)
    assert caught.value.fix


def test_a_cursor_that_is_not_there_is_answered_with_those_that_would_do(server: Server) -> None:
    table = server.table(
        "id INT PRIMARY KEY, made DATETIME NOT NULL, created_at DATETIME NOT NULL, changed TIMESTAMP NULL,"
        " day DATE, word VARCHAR(20), KEY (created_at), KEY (changed)"
    )
    with pytest.raises(ObjectNotFound) as caught:
        server.source().plan(server.dataset(table, "updated_at"), None, None)
    assert str(caught.value) == (
        f"pipeline tests dataset things: cursor 'updated_at' is not a column of {table}. "
        "Columns that would do: created_at (indexed), changed (indexed), made, day."
    )
    with pytest.raises(UnsupportedType, match="cursor 'word'"):
        server.source().plan(server.dataset(table, "word"), None, None)


def test_a_cursor_without_an_index_is_a_warning(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, updated_at DATETIME NOT NULL")
    rows = ", ".join(f"({n}, '2026-01-01')" for n in range(1_000))
    server.run(f"INSERT INTO {table} VALUES {rows}")
    server.analyze(table)
    plan = server.source().plan(server.dataset(table, "updated_at"), None, None)
    [told] = [warning for warning in plan.warnings if "has no index" in warning]
    assert f"cursor 'updated_at' of {table}" in told
    assert re.search(r"every run reads the whole table, about (1,0|9)\d\d rows\.", told), told


def test_a_login_that_cannot_see_transactions_is_a_warning(server: Server) -> None:
    from dataclasses import replace

    table = server.table(COLUMNS)
    login = server.database[-8:]
    server.run(f"CREATE USER '{login}'@'%%' IDENTIFIED BY 'a-password'", [])
    try:
        server.run(f"GRANT SELECT ON {server.database}.* TO '{login}'@'%%'", [])
        low = replace(server.connection, login=login, password="a-password")
        plan = server.source(connection=low).plan(server.dataset(table, "updated_at"), None, None)
    finally:
        server.run(f"DROP USER '{login}'@'%%'", [])
    assert any("GRANT PROCESS" in warning for warning in plan.warnings)


def test_a_key_that_is_not_there_is_refused(aurora: Server) -> None:
    table = aurora.table(COLUMNS)
    with pytest.raises(ObjectNotFound, match="primary_key 'payment_id'"):
        aurora.source().plan(aurora.dataset(table, key=("payment_id",)), None, None)


def test_a_column_changed_since_the_plan_is_said(aurora: Server, spark: SparkSession) -> None:
    table = aurora.table(COLUMNS)
    aurora.run(f"INSERT INTO {table} (id, updated_at) VALUES (1, '2026-01-01')")
    dataset = aurora.dataset(table)
    plan = aurora.source().plan(dataset, None, None)
    aurora.run(f"ALTER TABLE {table} DROP COLUMN seen_at")
    with pytest.raises(SourceMoved, match=r"'seen_at' \(timestamp\(3\)\) is gone"):
        aurora.source().read(spark, dataset, plan)


def test_tidb_reads_the_rows_and_columns_of_the_plan(tidb: Server, spark: SparkSession) -> None:
    table = tidb.table("id INT PRIMARY KEY, note VARCHAR(10)")
    tidb.run(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
    dataset = tidb.dataset(table)
    source = tidb.source(rows_per_slice=2)
    plan = source.plan(dataset, None, None)
    tidb.run(f"DELETE FROM {table} WHERE id = 1")
    tidb.run(f"UPDATE {table} SET note = 'new' WHERE id = 2")
    tidb.run(f"ALTER TABLE {table} ADD COLUMN more INT")
    rows = source.read(spark, dataset, plan).orderBy("id").collect()
    assert [(row.id, row.note, row._source_rows) for row in rows] == [
        (1, "a", 2),
        (2, "b", 2),
        (3, "c", 2),
        (4, "d", 2),
    ]
    assert source.count(dataset, plan) == {0: 2, 1: 2}


def test_a_collected_tidb_snapshot_is_said(tidb: Server, spark: SparkSession) -> None:
    table = tidb.table("id INT PRIMARY KEY")
    tidb.run(f"INSERT INTO {table} VALUES (1)")
    dataset = tidb.dataset(table)
    plan = tidb.source().plan(dataset, None, None)
    # A timestamp of 2018, before anything the server still has.
    old = plan.model_copy(update={"snapshot": {"tidb_snapshot": "400000000000000000"}})
    for attempt in (lambda: tidb.source().read(spark, dataset, old), lambda: tidb.source().count(dataset, old)):
        with pytest.raises(SourceMoved, match="tidb_gc_life_time"):
            attempt()


@pytest.mark.parametrize(("together", "looks"), [(True, 1), (False, 2)])
def test_what_is_planned_for_one_run_looks_once_at_open_transactions(
    aurora: Server, together: bool, looks: int
) -> None:
    first, second = (aurora.dataset(aurora.table(COLUMNS), "updated_at") for _ in range(2))
    proxy = CuttingProxy(aurora.connection.host or "", aurora.connection.port or 0)
    try:
        source = aurora.source(connection=replace(aurora.connection, port=proxy.port), plans_one_run=together)
        ends = [plan.window and plan.window.end for plan in (source.plan(d, None, None) for d in (first, second))]
    finally:
        proxy.close()
    # Each look is a transaction of its own.
    assert sum("CONSISTENT SNAPSHOT, READ ONLY" in line for line in proxy.statements) == looks
    # Two looks within a second end alike.
    assert len(set(ends)) <= looks
