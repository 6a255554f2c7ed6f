"""A reader of Aurora is believed by its writer's records alone, and only by those younger than the plan's mark.

No Aurora is here: the servers answer in the shape of AWS's documentation of `replica_host_status`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from connectors.connection import Connection
from connectors.errors import ServiceUnavailable
from connectors.mysql.sessions import aurora_readers
from connectors.mysql.sessions.aurora_readers import unproved
from connectors.mysql.sessions.replica import AURORA, has_reached_sql, prove_by_writer, reader_of, refuted, same_server
from connectors.mysql.sessions.session import Session

MARK = datetime(2026, 11, 20, 10, 0, 0, 123_456)
NOW = MARK + timedelta(seconds=30)
WRITER, READER, OTHER = "shop-1", "shop-2", "shop-3"


@dataclass
class Instance:
    """One instance of a cluster: its name, and its own copy of `replica_host_status`."""

    name: str
    records: list[tuple[str, str, datetime, float | None]]
    now: datetime = NOW
    connection: Connection = field(default=Connection("shop_db", "mysql", "writer.example", 3306, "ferry"))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if "replica_host_status" in sql:
            return list(self.records)
        assert sql == "SELECT @@aurora_server_id, UTC_TIMESTAMP(6)"
        return [(self.name, self.now)]

    def value(self, sql: str) -> str:
        assert sql == "SELECT @@aurora_server_id", sql
        return self.name


def writer(updated: datetime, lag: float | None, name: str = READER) -> Instance:
    return Instance(
        WRITER,
        [
            (WRITER, "MASTER_SESSION_ID", NOW, 0.0),
            (name, "0b6c2f5e-7d1f-4b1e-9a52-3f2f1b7f9a11", updated, lag),
            (OTHER, "5d3f7c4e-90b7-4a9c-8e0e-1f6c2d3b4a55", NOW, 12.0),
        ],
    )


def reason(found: Instance, instance: str = READER) -> str | None:
    return unproved(cast(Session, found), instance, MARK)


def test_a_record_proves_what_the_reader_had_at_its_time_less_its_lag() -> None:
    assert reason(writer(NOW - timedelta(seconds=1), 18.5)) is None
    # Half a minute after the mark, and a minute of lag.
    assert reason(writer(NOW, 60_000.0)) == (
        "the writer's record of instance shop-2 is of 2026-11-20 10:00:30.123456 UTC, its lag 60000 ms"
    )
    # Two seconds to spare for clocks: all but them, then they too.
    assert reason(writer(MARK + timedelta(seconds=2), 0.0)) is not None
    assert reason(writer(MARK + timedelta(seconds=2, microseconds=1), 0.0)) is None
    assert reason(writer(MARK + timedelta(seconds=5), 3_000.0)) is not None


def test_a_record_that_is_not_renewed_proves_nothing_however_small_its_lag() -> None:
    assert "is of 2026-11-20 09:59:00" in (reason(writer(datetime(2026, 11, 20, 9, 59), 9.0)) or "")
    # A time of another zone, or of a clock that is wrong.
    ahead = reason(writer(NOW + timedelta(hours=9), 9.0))
    assert ahead is not None
    assert "ahead of its clock" in ahead


def test_an_instance_that_the_writer_does_not_know_is_not_believed() -> None:
    assert reason(writer(NOW, 9.0, name="another")) == "the writer has no record of instance shop-2"
    assert reason(writer(NOW, None)) == "the writer has no record of instance shop-2"


def test_only_the_writer_is_asked() -> None:
    asked = replace(writer(NOW, 9.0), name=OTHER)
    assert reason(asked) == "instance shop-3 is not the writer and knows no other's lag"
    # The reader endpoint of a cluster without readers.
    assert reason(writer(NOW, 9.0), WRITER) is None


def test_the_writers_address_is_asked_of_each_session_on_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(
        "shop_db", "mysql", "writer.example", 3306, "ferry", extra={"reader_host": "reader.example"}
    )
    # Its own table says that it is up to date.
    reader = Instance(READER, [(READER, "x", NOW, 1.0)], connection=reader_of(connection))
    asked: list[tuple[str | None, int | None]] = []
    known = writer(MARK, 5.0)

    @contextmanager
    def opened(server: Connection) -> Iterator[Instance]:
        asked.append((server.host, server.port))
        yield known

    monkeypatch.setattr(aurora_readers, "open_session", opened)
    snapshot = {AURORA: str(MARK)}
    with pytest.raises(ServiceUnavailable, match=r"reader shop_db \(reader\.example:3306\) is behind: .*shop-2 is of"):
        prove_by_writer(cast(Session, reader), snapshot, wait_seconds=0)
    known = writer(NOW, 5.0)
    prove_by_writer(cast(Session, reader), snapshot, wait_seconds=0)
    prove_by_writer(cast(Session, reader), {"mysql_gtid_set": "a:1-5"}, wait_seconds=0)
    assert asked == [("writer.example", 3306)] * 2


@dataclass
class Host:
    """A MySQL that says of itself only whether it is Aurora, and its number."""

    aurora: bool
    connection: Connection = field(default=Connection("shop_db", "mysql", "writer.example", 3306, "ferry"))
    server_version: str = "8.0.32"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        assert sql == "SHOW VARIABLES LIKE 'aurora_version'"
        return [("aurora_version", "3.05.2")] if self.aurora else []

    def value(self, sql: str) -> int:
        assert sql == "SELECT @@server_id"
        return 7


def test_without_a_reader_aurora_is_read_at_whichever_instance_is_the_writer() -> None:
    snapshot = same_server(cast(Session, Host(aurora=True)))
    assert has_reached_sql(snapshot, 1) == "(@@global.innodb_read_only = 0)"
    error = refuted(Host(aurora=True).connection, snapshot)
    assert isinstance(error, ServiceUnavailable)
    assert "shop_db (writer.example:3306) no longer leads to the writer of its cluster" in str(error)
    assert has_reached_sql(same_server(cast(Session, Host(aurora=False))), 1) == "(@@server_id = 7)"
