"""Rows whose cursor is a zero date: they lie in no window, as rows without a value do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connectors.base import Window
from connectors.errors import CheckFailed
from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TYPES = {
    "DATETIME": ("0000-00-00 00:00:00", "2026-01-02 00:00:00"),
    "DATETIME(6)": ("0000-00-00 00:00:00", "2026-01-02 00:00:00"),
    "DATE": ("0000-00-00", "2026-01-02"),
    "TIMESTAMP": ("0000-00-00 00:00:00", "2026-01-02 00:00:00"),
    "TIMESTAMP(3)": ("0000-00-00 00:00:00", "2026-01-02 00:00:00"),
}


@pytest.mark.parametrize("null", ["NOT NULL", "NULL"])
@pytest.mark.parametrize("source_type", sorted(TYPES))
def test_a_zero_date_is_refused_read_or_set_aside_after_the_first_run_too(
    server: Server, source_type: str, null: str
) -> None:
    zero, ordinary = TYPES[source_type]
    table = server.table(f"id INT PRIMARY KEY, at {source_type} {null} DEFAULT '{zero}', KEY (at)")
    server.run(f"INSERT INTO {table} VALUES (1, '{ordinary}')")
    # The rows are old. A longer lag keeps transactions of other tests from being a warning.
    rules = {
        rule: server.dataset(table, "at", lag_seconds=60, null_cursors=rule)
        for rule in ("refuse", "include", "quarantine")
    }
    first = server.source().plan(rules["include"], None, None)
    assert (first.null_cursors, first.overlaps_published, first.warnings) == (None, False, ())
    server.run(f"INSERT INTO {table} (id) VALUES (2)")
    with pytest.raises(CheckFailed, match=r"1 row of .* has no at, NULL or a zero date"):
        server.source().plan(rules["refuse"], first.position, None)
    for rule in ("include", "quarantine"):
        plan = server.source().plan(rules[rule], first.position, None)
        assert (plan.null_cursors, plan.overlaps_published) == (rule, True)
        assert sum(server.source().count(rules[rule], plan).values()) == 1
    asked = server.source().plan(rules["include"], None, Window(start="2026-01-01", end="2026-01-03"))
    assert sum(server.source().count(rules["include"], asked).values()) == 1


@pytest.mark.parametrize("zero_dates", ["quarantine", "null", "text"])
def test_a_zero_date_is_set_aside_whatever_becomes_of_zero_dates(
    server: Server, spark: SparkSession, zero_dates: str
) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at)")
    server.run(f"INSERT INTO {table} VALUES (1, '0000-00-00'), (2, '2026-01-01'), (3, '2026-01-02')")
    dataset = server.dataset(table, "at", null_cursors="quarantine", zero_dates=zero_dates)
    plan = server.source().plan(dataset, {"cursor": "2026-01-02 00:00:00.000000"}, None)
    rows = {row.id: row._rejected for row in server.source().read(spark, dataset, plan).collect()}
    assert sorted(rows) == [1, 3]
    assert rows[3] is None
    assert rows[1].reason.startswith("at: a zero date, so no window holds the row")
    assert '"at":"0000-00-00 00:00:00"' in rows[1].record
    included = server.dataset(table, "at", null_cursors="include", zero_dates=zero_dates)
    plan = server.source().plan(included, {"cursor": "2026-01-02 00:00:00.000000"}, None)
    rows = {row.id: (row.at, row._rejected) for row in server.source().read(spark, included, plan).collect()}
    assert sorted(rows) == [1, 3]
    if zero_dates == "quarantine":
        assert rows[1][1].reason == "at: not a date: 0000-00-00 00:00:00"
    else:
        assert rows[1] == ({"null": None, "text": "0000-00-00 00:00:00"}[zero_dates], None)


def test_a_date_without_a_day_that_comes_late_is_reported(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at)")
    server.run(f"INSERT INTO {table} VALUES (1, '2026-01-01'), (2, '2026-00-10')")
    dataset = server.dataset(table, "at", lag_seconds=60)
    first = server.source().plan(dataset, None, None)
    assert first.watched is not None
    assert first.watched["rows"] == 2
    position = {**(first.position or {}), "watched": first.watched}
    assert server.source().plan(dataset, position, None).warnings == ()
    server.run(f"INSERT INTO {table} VALUES (3, '2026-01-00')")
    [warning] = server.source().plan(dataset, position, None).warnings
    assert "1 row of" in warning
