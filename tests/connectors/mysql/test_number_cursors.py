"""Cursors of numbers: numbers that begin again, one far ahead, one taken long before its commit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from pydantic import JsonValue, ValidationError

from connectors.base import SourcePlan, Window
from connectors.errors import CheckFailed, UnsupportedType
from connectors.mysql.number_cursors import find_outlier
from connectors.mysql.options import MySQLOptions
from tests.connectors.mysql.conftest import Server

NOW = datetime(2026, 11, 30, 12)
NOW_MS = 1_796_040_000_000


def published(plan: SourcePlan) -> dict[str, JsonValue]:
    """The position as the lake keeps it."""
    assert plan.position is not None
    return {**plan.position, "watched": plan.watched}


@pytest.mark.parametrize(
    ("values", "lowest", "found"),
    [
        ([9_999_999_999_999, NOW_MS - 4_000, NOW_MS - 5_000], NOW_MS - 5_000, (9_999_999_999_999, NOW_MS - 4_000)),
        ([NOW_MS * 1000, NOW_MS], NOW_MS, (NOW_MS * 1000, NOW_MS)),
        ([1_796_040_000 + 2 * 86_400, 1_796_039_000], 0, (1_796_212_800, 1_796_039_000)),
        ([10**15, 1000, 999, 998], 1, (10**15, 1000)),
        ([10**15 + 1, 10**15, 1000, 999], 1, (10**15 + 1, 1000)),
        # Healthy: dense ids, ids in blocks, times after a pause, ids that stand where clocks do, few rows.
        (list(range(1000, 980, -1)), 1, None),
        ([20_000, 10_000, 10, 9], 1, None),
        ([NOW_MS, NOW_MS - 86_400_000, NOW_MS - 86_400_001], NOW_MS - 86_400_001, None),
        ([NOW_MS + 60_000, NOW_MS - 1], NOW_MS - 1, None),
        (list(range(1_900_000_000, 1_899_999_980, -1)), 1, None),
        ([1_900_000, 1_000_000, 999_999], 1, None),
        ([2, 1], 1, None),
        ([10**12], 10**12, None),
    ],
)
def test_one_number_far_ahead_is_seen(values: list[int], lowest: int, found: tuple[int, int] | None) -> None:
    outlier = find_outlier(values, lowest, NOW)
    assert (outlier and (outlier.highest, outlier.ordinary)) == found


def test_ids_that_begin_again_are_refused_with_both_numbers(aurora: Server) -> None:
    table = aurora.table("id INT AUTO_INCREMENT PRIMARY KEY, v INT")
    aurora.run(f"INSERT INTO {table} (v) VALUES {', '.join(['(1)'] * 1000)}")
    dataset = aurora.dataset(table, "id")
    first = aurora.source().plan(dataset, None, None)
    assert (first.position, first.warnings) == ({"cursor": "1001"}, ())
    position = published(first)

    # The newest rows are gone, or all of them, and numbers go on: nothing is lost.
    aurora.run(f"DELETE FROM {table} WHERE id > 990")
    assert aurora.source().plan(dataset, position, None).warnings == ()
    aurora.run(f"DELETE FROM {table}")
    assert aurora.source().plan(dataset, position, None).warnings == ()
    aurora.run(f"INSERT INTO {table} (v) VALUES (1)")
    plan = aurora.source().plan(dataset, position, None)
    assert (plan.window, plan.warnings) == (Window(start="1001", end="1002"), ())

    aurora.run(f"TRUNCATE {table}")
    [warning] = aurora.source().plan(dataset, position, None).warnings
    assert "is empty and the server gives the next row 1, but the published position is 1001" in warning
    aurora.run(f"INSERT INTO {table} (v) VALUES (1), (2), (3), (4), (5)")
    with pytest.raises(
        CheckFailed, match=r"the highest id of .* is 5 and .* next row 6, .* position is 1001"
    ) as caught:
        aurora.source().plan(dataset, position, None)
    assert "new dataset name" in str(caught.value)
    # An explicit window says itself what it reads; a lookback over all rows reads all that there are.
    assert aurora.source().plan(dataset, position, Window(start="1", end="6")).slices
    back = aurora.source().plan(aurora.dataset(table, "id", lookback=2000), position, None)
    assert (back.reread_from, back.rereads, back.warnings) == ("-999", True, ())


def test_a_reload_with_more_rows_than_before_is_a_warning(server: Server) -> None:
    table = server.table(
        "id BIGINT PRIMARY KEY, v INT, card VARCHAR(20), made DATETIME NOT NULL DEFAULT '2026-01-01', price DOUBLE"
    )

    def load(rows: int, card: str) -> None:
        values = ", ".join(f"({n}, {n}, '{card}')" for n in range(1, rows + 1))
        server.run(f"INSERT INTO {table} (id, v, card) VALUES {values}")

    load(50, "1111")
    masked = replace(server.dataset(table, "id"), hidden=frozenset({"card"}))
    position = published(server.source().plan(masked, None, None))
    assert "card" not in str(position["watched"])
    # Another row, another column, an update of one row, another masked value: healthy.
    server.run(f"INSERT INTO {table} (id, v, card) VALUES (51, 1, '1')")
    server.run(f"ALTER TABLE {table} ADD COLUMN note INT NOT NULL DEFAULT 5")
    server.run(f"UPDATE {table} SET v = 0 WHERE id = 50")
    server.run(f"UPDATE {table} SET card = '2222', price = 1")
    assert server.source().plan(masked, position, None).warnings == ()
    server.run(f"TRUNCATE {table}")
    load(50, "3333")
    assert server.source().plan(masked, position, None).warnings == ()
    server.run(f"TRUNCATE {table}")
    load(100, "4444")
    server.run(f"UPDATE {table} SET made = '2026-01-02'")
    [warning] = server.source().plan(masked, position, None).warnings
    assert "below the published position 51, of id 41 to 50, are others than those that were read" in warning


def test_numbers_of_the_application_that_begin_again_are_a_warning(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, v INT")
    server.run(f"INSERT INTO {table} VALUES (998, 1), (999, 1), (1000, 1)")
    dataset = server.dataset(table, "id")
    first = server.source().plan(dataset, None, None)
    assert first.warnings == ()
    server.run(f"DELETE FROM {table}")
    [warning] = server.source().plan(dataset, published(first), None).warnings
    assert "is empty, but the published position is 1001" in warning
    server.run(f"INSERT INTO {table} VALUES (1, 1)")
    warnings = server.source().plan(dataset, published(first), None).warnings
    assert any("highest id of" in text and "is 1, but the published position is 1001" in text for text in warnings)


@pytest.mark.parametrize("index", ["", ", KEY (at_ms)"])
def test_a_time_in_milliseconds_far_ahead_is_a_warning_at_each_plan(server: Server, index: str) -> None:
    table = server.table(f"id INT PRIMARY KEY, at_ms BIGINT NOT NULL{index}")
    now = "FLOOR(UNIX_TIMESTAMP(NOW(3)) * 1000)"
    server.run(f"INSERT INTO {table} SELECT 1, {now} - 5000 UNION SELECT 2, {now} - 4000")
    dataset = server.dataset(table, "at_ms")
    first = server.source().plan(dataset, None, None)
    assert [text for text in first.warnings if "index" not in text] == []
    server.run(f"INSERT INTO {table} VALUES (3, 9999999999999)")
    second = server.source().plan(dataset, published(first), None)
    assert second.position == {"cursor": "10000000000000"}
    server.run(f"INSERT INTO {table} SELECT 4, {now} UNION SELECT 5, {now}")
    third = server.source().plan(dataset, published(second), None)
    for plan in (second, third):
        [warning] = [text for text in plan.warnings if ", far ahead: " in text]
        assert "is 9999999999999, far ahead: the clock is 17" in warning
    if index:
        assert any("2 rows of" in text and "the position is 10000000000000" in text for text in third.warnings)


def test_a_number_taken_long_before_its_commit_shows_and_is_read_by_a_lookback(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, v INT")
    server.run(f"INSERT INTO {table} VALUES (1, 1), (2, 1), (9, 1)")
    dataset = server.dataset(table, "id")
    first = server.source().plan(dataset, None, None)
    server.run(f"INSERT INTO {table} VALUES (8, 1), (10, 1)")
    second = server.source().plan(dataset, published(first), None)
    [warning] = second.warnings
    assert "1 row of" in warning
    assert "they lie below 10 (the highest there is now 9), and the position is 10" in warning
    assert "lookback: N" in warning

    back = server.dataset(table, "id", lookback=5)
    reading = server.source().plan(back, published(first), None)
    assert (reading.window, reading.reread_from, reading.rereads) == (Window(start="10", end="11"), "5", True)
    assert reading.warnings == ()
    assert sum(server.source().count(back, reading).values()) == 3
    # The next read begins at 6: what comes below is missed by that lookback, too.
    server.run(f"INSERT INTO {table} VALUES (3, 1), (7, 1)")
    [warning] = server.source().plan(back, published(reading), None).warnings
    assert "they lie below 6 (the highest there is now 3), and the position is 11" in warning


def test_a_lookback_of_the_other_kind_is_refused(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, at DATETIME NOT NULL, KEY (at)")
    with pytest.raises(UnsupportedType, match="lookback is for a cursor of numbers") as caught:
        server.source().plan(server.dataset(table, "at", lookback=5), None, None)
    assert caught.value.key == ("lookback",)
    with pytest.raises(UnsupportedType, match="lookback_seconds is for a cursor of times") as caught:
        server.source().plan(server.dataset(table, "id", lookback_seconds=5), None, None)
    assert caught.value.key == ("lookback_seconds",)
    for keys in ({"cursor": "id", "lookback": 1, "lookback_seconds": 1}, {"lookback": 1}):
        with pytest.raises(ValidationError):
            MySQLOptions.model_validate({"table": "a.b", **keys})


def test_rows_that_come_behind_a_time_are_a_warning_and_other_changes_are_none(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at)")
    server.run(f"INSERT INTO {table} VALUES (1, '2026-01-01'), (2, '2026-01-02'), (3, '2026-01-03')")
    dataset = server.dataset(table, "at")
    first = server.source().plan(dataset, None, None)
    server.run(f"UPDATE {table} SET at = UTC_TIMESTAMP(6) WHERE id = 2")
    server.run(f"DELETE FROM {table} WHERE id = 3")
    server.run(f"INSERT INTO {table} VALUES (4, UTC_TIMESTAMP(6))")
    assert server.source().plan(dataset, published(first), None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (5, '2026-01-01 12:00:00'), (6, '2026-01-01 13:00:00')")
    server.run(f"INSERT INTO {table} VALUES (7, '2026-01-01 13:00:00')")
    [warning] = server.source().plan(dataset, published(first), None).warnings
    assert "came behind the published position: by at" in warning


def test_days_with_rows_that_come_late_are_a_warning(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, day DATE NOT NULL, KEY (day)")
    server.run(f"INSERT INTO {table} VALUES (1, UTC_DATE() - INTERVAL 3 DAY), (2, UTC_DATE() - INTERVAL 2 DAY)")
    dataset = server.dataset(table, "day")
    first = server.source().plan(dataset, None, None)
    server.run(f"INSERT INTO {table} VALUES (3, UTC_DATE())")
    assert server.source().plan(dataset, published(first), None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (4, UTC_DATE() - INTERVAL 2 DAY)")
    [warning] = server.source().plan(dataset, published(first), None).warnings
    assert "1 row of" in warning


def test_more_rows_than_are_watched(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, n BIGINT NOT NULL, KEY (n)")
    rows = ", ".join(f"({n}, {n // 2})" for n in range(3000))
    server.run(f"INSERT INTO {table} VALUES {rows}")
    dataset = server.dataset(table, "n")
    first = server.source().plan(dataset, None, None)
    assert {key: value for key, value in (first.watched or {}).items() if key != "marks"} == {
        "after": "1000",
        "below": "1500",
        "rows": 998,
        "sum": 1_247_500,
    }
    server.run(f"INSERT INTO {table} VALUES (4000, 5), (4001, 1500)")
    assert server.source().plan(dataset, published(first), None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (4002, 1200)")
    [warning] = server.source().plan(dataset, published(first), None).warnings
    assert "1 row of" in warning
