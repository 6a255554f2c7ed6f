"""Cursors of every kind, from the source into BigQuery: exactly what changed moves, and no old version comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Window
from tests.e2e.ferry import Ferry, OwnDatabase, Ran

CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}


class Followed:
    """A table `t` with a key `id`, and the pipeline that follows its cursor."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, source: str, columns: str, cursor: str) -> None:
        self.ferry, self.database, self._source, self._cursor = ferry, database, source, cursor
        self.name = f"c_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.t"
        database.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, {columns})")

    def run(self, more: str = "write_disposition: merge", window: Window | None = None, lag_seconds: int = 1) -> Ran:
        """Ferry what there is, once nothing is younger than the lag; `more` are further keys of the dataset."""
        self.ferry.spec(
            f"pipeline: {self.name}\n"
            f"source: {{type: {self._source}, connection: {CONNECTIONS[self._source]}}}\n"
            f"datasets:\n  - {{name: {self.name}, table: {self.database.name}.t, primary_key: [id],"
            f" cursor: {self._cursor}, lag_seconds: {lag_seconds}, {more}, bigquery: {{table: {self.target}}}}}\n"
        )
        self.database.settle()
        ran = self.ferry.run(self.name, window=window)
        assert ran.code == 0
        return ran

    def published(self, ran: Ran) -> int | None:
        return ran.receipt("check", self.name).published

    def current(self, *columns: str) -> list[tuple[Any, ...]]:
        """What BigQuery has, and curated too."""
        named = ", ".join(f"`{name}`" for name in columns)
        loaded = [tuple(row.values()) for row in self.ferry.warehouse_rows(self.target, named)]
        curated = [tuple(row[name] for name in columns) for row in self.ferry.lake_rows("curated", self.name)]
        assert sorted(curated, key=str) == sorted(loaded, key=str)
        return sorted(loaded, key=lambda row: int(row[0]))


@pytest.fixture(params=["aurora", "tidb"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(request: pytest.FixtureRequest, source: str) -> OwnDatabase:
    found: OwnDatabase = request.getfixturevalue(source)
    return found


def test_a_timestamp(ferry: Ferry, database: OwnDatabase, source: str) -> None:
    table = Followed(ferry, database, source, "memo VARCHAR(9), at TIMESTAMP(3) NOT NULL, KEY (at)", "at")
    # An hour that comes twice in New York: half past one, before and after clocks go back.
    database.insert("t", [(1, "first", "2025-11-02 05:30:00.125"), (2, "second", "2025-11-02 06:30:00.125")])
    assert table.published(table.run()) == 2
    one, two = (datetime(2025, 11, 2, hour, 30, 0, 125_000, UTC) for hour in (5, 6))
    assert table.current("id", "memo", "at") == [(1, "first", one), (2, "second", two)]
    database.execute("UPDATE t SET memo = 'changed', at = UTC_TIMESTAMP(3) WHERE id = 2")
    [(_, _, moved)] = database.rows("SELECT * FROM t WHERE id = 2")
    assert table.published(table.run()) == 1
    assert table.current("id", "memo", "at") == [(1, "first", one), (2, "changed", moved.replace(tzinfo=UTC))]
    second = Window(start="2025-11-02T01:30:00-05:00", end="2025-11-02T02:00:00-05:00")
    database.insert("t", [(3, "between", "2025-11-02 06:31:00")])
    assert table.published(table.run(window=second)) == 1
    assert [row[0] for row in table.current("id")] == [1, 2, 3]


def test_a_day(ferry: Ferry, aurora: OwnDatabase) -> None:
    table = Followed(ferry, aurora, "aurora", "day DATE NOT NULL, KEY (day)", "day")
    today = aurora.now().date()
    days = {ago: today - timedelta(days=ago) for ago in (9, 8, 1)}
    aurora.insert("t", list(days.items()))
    # By this lag yesterday is not over.
    assert table.published(table.run(lag_seconds=86_400)) == 2
    assert table.current("id", "day") == [(8, days[8]), (9, days[9])]
    aurora.execute("UPDATE t SET day = %s WHERE id = 8", (days[1],))
    assert table.published(table.run()) == 2
    assert table.current("id", "day") == [(1, days[1]), (8, days[1]), (9, days[9])]


def test_an_id(ferry: Ferry, aurora: OwnDatabase) -> None:
    table = Followed(ferry, aurora, "aurora", "memo VARCHAR(9)", "id")
    aurora.insert("t", [(1, "a"), (2, "b"), (3, None)])
    assert table.published(table.run("write_disposition: append")) == 3
    aurora.execute("UPDATE t SET memo = 'later' WHERE id = 1")
    aurora.insert("t", [(5, "d"), (2**62, "e")])
    assert table.published(table.run("write_disposition: append")) == 2
    # A change under an old id is not seen: rows of such a table are written once.
    assert table.current("id", "memo") == [(1, "a"), (2, "b"), (3, None), (5, "d"), (2**62, "e")]


def test_several_columns_order_versions(ferry: Ferry, database: OwnDatabase, source: str) -> None:
    columns = "revision INT NOT NULL, memo VARCHAR(9), at DATETIME NOT NULL, KEY (at)"
    table = Followed(ferry, database, source, columns, "[at, revision]")
    database.insert("t", [(1, 5, "fifth", "2026-01-01"), (2, 9, "ninth", "2026-01-01")])
    assert table.published(table.run()) == 2
    day = Window(start="2026-01-01T00:00:00Z", end="2026-01-02T00:00:00Z")
    # The same moment twice: only the revision says which version is later. One row goes on, one goes back.
    database.execute("UPDATE t SET revision = 10, memo = 'tenth' WHERE id = 2")
    database.execute("UPDATE t SET revision = 4, memo = 'fourth' WHERE id = 1")
    assert table.published(table.run(window=day)) == 2
    assert table.current("id", "revision", "memo") == [(1, 5, "fifth"), (2, 10, "tenth")]


def test_rows_without_a_cursor_value_move_when_they_change(ferry: Ferry, database: OwnDatabase, source: str) -> None:
    table = Followed(ferry, database, source, "memo VARCHAR(9), at DATETIME(6) NULL, KEY (at)", "at")
    database.insert("t", [(1, "never", None), (2, "once", "2026-01-01"), (3, None, None)])
    keys = "write_disposition: merge, null_cursors: include"
    assert table.published(table.run(keys)) == 3
    again = table.run(keys)
    assert (again.receipt("check", table.name).verdict, table.published(again)) == ("empty", 0)
    database.execute("UPDATE t SET memo = 'changed' WHERE id = 1")
    database.execute("UPDATE t SET at = UTC_TIMESTAMP(6) WHERE id = 3")
    assert table.published(table.run(keys)) == 2
    moved = database.rows("SELECT at FROM t WHERE id = 3")[0][0]
    assert table.current("id", "memo", "at") == [
        (1, "changed", None),
        (2, "once", datetime(2026, 1, 1)),
        (3, None, moved),
    ]


def test_rows_without_a_cursor_value_are_set_aside_once(ferry: Ferry, database: OwnDatabase, source: str) -> None:
    table = Followed(ferry, database, source, "memo VARCHAR(9), at DATETIME(6) NULL, KEY (at)", "at")
    database.insert("t", [(1, "never", None), (2, "once", "2026-01-01")])
    keys = "write_disposition: merge, null_cursors: quarantine"
    first = table.run(keys).receipt("check", table.name)
    assert (first.read, first.published, first.quarantined) == (2, 1, 1)
    second = table.run(keys).receipt("check", table.name)
    assert (second.verdict, second.published, second.quarantined) == ("empty", 0, 0)
    [row] = ferry.lake_rows("quarantine", table.name)
    assert "at" in row["reason"]
    assert json.loads(row["record"]) == {"id": "1", "memo": "never", "at": None}
    database.execute("UPDATE t SET at = UTC_TIMESTAMP(6) WHERE id = 1")
    assert table.published(table.run(keys)) == 1
    assert [row[0] for row in table.current("id")] == [1, 2]
    assert len(ferry.lake_rows("quarantine", table.name)) == 1
