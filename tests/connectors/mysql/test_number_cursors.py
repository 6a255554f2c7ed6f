"""Cursors of numbers: numbers that begin again, one far ahead, one taken long before its commit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import cast

import pytest
from pydantic import JsonValue, ValidationError

from connectors.base import ReadPlan, Window
from connectors.errors import CheckFailed, UnsupportedType
from connectors.mysql.options import MySQLOptions
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.windows.cursors import Cursor
from connectors.mysql.windows.day_counts import DayCounts
from connectors.mysql.windows.number_cursors import find_outlier
from tests.connectors.mysql.conftest import Server

NOW = datetime(2026, 11, 30, 12)
NOW_MS = 1_796_040_000_000


def published(plan: ReadPlan) -> dict[str, JsonValue]:
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
    assert (back.overlap_start, back.overlaps_published, back.warnings) == ("-999", True, ())


def test_a_reload_with_more_rows_than_before_is_a_warning(server: Server) -> None:
    table = server.table(
        "id BIGINT PRIMARY KEY, v INT, card VARCHAR(20), made DATETIME NOT NULL DEFAULT '2026-01-01', price DOUBLE"
    )

    def load(rows: int, card: str) -> None:
        values = ", ".join(f"({n}, {n}, '{card}')" for n in range(1, rows + 1))
        server.run(f"INSERT INTO {table} (id, v, card) VALUES {values}")

    load(50, "1111")
    masked = replace(server.dataset(table, "id"), masked_columns=frozenset({"card"}))
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
    assert "since the published position 51 (" in warning
    assert "10 of the 10 newest rows below it, of id 41 to 50, differ from those that were read" in warning
    # By DELETE the table stays the same one.
    position = published(server.source().plan(masked, None, None))
    server.run(f"DELETE FROM {table}")
    load(101, "5555")
    server.run(f"UPDATE {table} SET made = '2026-01-03'")
    [warning] = server.source().plan(masked, position, None).warnings
    assert "below the published position 101, of id 91 to 100, differ from those that were read" in warning


RELOADED = {
    # Columns, and values of row n before and after.
    "few rows": ("v INT", 2, "{n}", 4, "{n} + 100"),
    "few values": ("v INT", 10, "{n} %% 2", 15, "{n} DIV 2 %% 2"),
    "neither numbers nor texts": ("v ENUM('a', 'b'), d DOUBLE", 5, "'a', {n}", 8, "'b', {n}"),
    "doubles": ("d DOUBLE", 5, "{n}", 8, "{n} + 0.5"),
    "masked": ("card VARCHAR(20)", 5, "'1'", 8, "'2'"),
}


@pytest.mark.parametrize("case", RELOADED)
def test_a_reload_is_reported_whatever_the_columns_are(server: Server, case: str) -> None:
    columns, before, row, after, other = RELOADED[case]
    table = server.table(f"id BIGINT PRIMARY KEY, {columns}")

    def load(rows: int, values: str) -> None:
        listed = ", ".join(f"({n}, {values.format(n=n)})" for n in range(1, rows + 1))
        server.run(f"INSERT INTO {table} VALUES {listed}".replace("%%", "%"))

    load(before, row)
    dataset = replace(server.dataset(table, "id"), masked_columns=frozenset({"card"}))
    position = published(server.source().plan(dataset, None, None))
    server.run(f"INSERT INTO {table} (id) VALUES ({before + 1})")
    assert server.source().plan(dataset, position, None).warnings == ()
    server.run(f"TRUNCATE {table}")
    load(after, other)
    [warning] = server.source().plan(dataset, position, None).warnings
    assert f"was recreated since the published position {before + 1} (table id " in warning
    assert ("differ from those that were read" in warning) is (case != "masked")
    assert ("nothing shows whether its rows are those that were read" in warning) is (case == "masked")


def test_a_table_that_is_rebuilt_or_restored_is_quiet(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, v INT, d DOUBLE, name VARCHAR(20), gone INT, KEY (v)")
    rows = ", ".join(f"({n}, {n % 3}, {n} / 7, 'é{n}', {n})" for n in range(1, 21))
    server.run(f"INSERT INTO {table} VALUES {rows}")
    dataset = server.dataset(table, "id")

    def warnings() -> tuple[str, ...]:
        return server.source().plan(dataset, position, None).warnings

    position = published(server.source().plan(dataset, None, None))
    rebuilds = ["ADD COLUMN note INT NOT NULL DEFAULT 5", "MODIFY v BIGINT", "DROP COLUMN gone"]
    if server.source_type == "aurora":
        rebuilds += ["FORCE", "CONVERT TO CHARACTER SET latin1"]
        server.run(f"OPTIMIZE TABLE {table}")
    for rebuild in rebuilds:
        server.run(f"ALTER TABLE {table} {rebuild}")
    assert warnings() == ()
    # As mysqldump restores it.
    server.run(f"CREATE TABLE {table}_copy LIKE {table}")
    server.run(f"INSERT INTO {table}_copy SELECT * FROM {table}")
    server.run(f"TRUNCATE {table}")
    server.run(f"INSERT INTO {table} SELECT * FROM {table}_copy")
    assert warnings() == ()
    server.run(f"INSERT INTO {table} (id, v) VALUES (21, 1)")
    assert warnings() == ()
    server.run(f"UPDATE {table} SET name = 'other' WHERE id = 15")
    [warning] = warnings()
    assert "and 1 of the 10 newest rows below it, of id 15, differ" in warning


@pytest.mark.parametrize("name", ["with-dash", "é`t", "a.b c"])
def test_a_reload_of_a_table_of_any_name_and_in_partitions(server: Server, name: str) -> None:
    table = f"{server.database}.`{name.replace('`', '``')}`"
    parts = "PARTITION BY HASH (id) PARTITIONS 3" if name == "with-dash" else ""
    server.run(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v INT) {parts}")
    server.run(f"INSERT INTO {table} VALUES (1, 1), (2, 2)")
    dataset = server.dataset(table, "id")
    position = published(server.source().plan(dataset, None, None))
    assert server.source().plan(dataset, position, None).warnings == ()
    server.run(f"TRUNCATE {table}")
    server.run(f"INSERT INTO {table} VALUES (1, 3), (2, 4), (3, 5)")
    [warning] = server.source().plan(dataset, position, None).warnings
    assert "was recreated" in warning
    server.run(f"DROP TABLE {table}")


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
    assert (reading.window, reading.overlap_start, reading.overlaps_published) == (
        Window(start="10", end="11"),
        "5",
        True,
    )
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


@pytest.mark.parametrize("key", ["PRIMARY KEY", "NOT NULL"])
def test_a_late_row_shows_beside_rows_that_moved_on_or_are_gone(server: Server, key: str) -> None:
    table = server.table(f"id INT {key}, u DATETIME(6) NOT NULL, v INT, KEY (u)")
    ago = "UTC_TIMESTAMP(6) - INTERVAL"
    server.run(f"INSERT INTO {table} VALUES (1, {ago} 100 SECOND, 1), (2, {ago} 90 SECOND, 1), (3, {ago} 40 SECOND, 1)")
    dataset = server.dataset(table, "u")
    position = published(server.source().plan(dataset, None, None))
    server.run(f"UPDATE {table} SET u = UTC_TIMESTAMP(6) WHERE id = 3")
    server.run(f"UPDATE {table} SET v = 2 WHERE id = 1")
    assert server.source().plan(dataset, position, None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (4, {ago} 50 SECOND, 1)")
    server.run(f"DELETE FROM {table} WHERE id = 2")
    [warning] = server.source().plan(dataset, position, None).warnings
    assert "1 row of" in warning
    assert "came behind the published position: by u" in warning
    assert "id" not in str((position["watched"] or {}).get("seen"))  # type: ignore[union-attr]


def test_a_late_row_with_the_time_of_another_one_shows_by_its_key(server: Server) -> None:
    table = server.table("id VARCHAR(20) PRIMARY KEY, u DATETIME NOT NULL, KEY (u)")
    server.run(f"INSERT INTO {table} VALUES ('a', '2026-01-01'), ('b', '2026-01-02'), ('c', '2026-01-02')")
    plain = server.dataset(table, "u")
    masked = replace(plain, masked_columns=frozenset({"id"}))
    positions = [published(server.source().plan(dataset, None, None)) for dataset in (plain, masked)]
    server.run(f"DELETE FROM {table} WHERE id = 'c'")
    server.run(f"INSERT INTO {table} VALUES ('d', '2026-01-02')")
    [warning] = server.source().plan(plain, positions[0], None).warnings
    assert "1 row of" in warning
    # Nothing of a masked key is remembered, so rows of one time are counted.
    assert server.source().plan(masked, positions[1], None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES ('e', '2026-01-02')")
    [warning] = server.source().plan(masked, positions[1], None).warnings
    assert "1 row of" in warning
    # Another key of the same rows is no other row.
    server.run(f"DELETE FROM {table} WHERE id IN ('d', 'e')")
    server.run(f"ALTER TABLE {table} MODIFY id VARCHAR(30)")
    assert server.source().plan(plain, positions[0], None).warnings == ()


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


class CountingSession:
    """The days of a table, and how often they were counted."""

    asked = 0

    def rows(self, sql: str) -> list[tuple[date, int]]:
        self.asked += 1
        return [(date(2026, 1, day), 10) for day in range(1, 32) if f"{date(2026, 1, day)}" >= sql.split("'")[1]]


def test_days_that_two_ranges_share_are_counted_once() -> None:
    for known, rows, asked in (
        (("2026-01-01", "2026-01-03"), 20, 1),
        (("2026-01-02", "2026-01-04"), 20, 1),
        (("2025-12-01", "2025-12-03"), 0, 2),
    ):
        session = CountingSession()
        days = DayCounts(cast(Session, session), TableName("shop", "orders"), Cursor("day", "date"), known)
        assert days.count("2026-01-02", "2026-01-04") == 20
        assert days.count(*known) == rows
        assert session.asked == asked


def test_more_rows_than_are_watched(server: Server) -> None:
    table = server.table("id BIGINT PRIMARY KEY, n BIGINT NOT NULL, KEY (n)")
    rows = ", ".join(f"({n}, {n // 2})" for n in range(3000))
    server.run(f"INSERT INTO {table} VALUES {rows}")
    dataset = server.dataset(table, "n")
    first = server.source().plan(dataset, None, None)
    watched = first.watched or {}
    assert {key: watched[key] for key in ("after", "below", "rows", "key")} == {
        "after": "1000",
        "below": "1500",
        "rows": 998,
        "key": {"id": watched["key"]["id"]},  # type: ignore[call-overload, index]
    }
    assert len(str(watched["seen"])) == 5324
    server.run(f"INSERT INTO {table} VALUES (4000, 5), (4001, 1500)")
    assert server.source().plan(dataset, published(first), None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (4002, 1200)")
    [warning] = server.source().plan(dataset, published(first), None).warnings
    assert "1 row of" in warning
