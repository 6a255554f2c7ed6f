"""The two databases of the sample: connecting, and writing many rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import pymysql

from connectors.connection import find_connection
from connectors.errors import ServiceUnavailable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

BATCH = 1000


@contextmanager
def connect(connection_id: str) -> Iterator[Connection[Cursor]]:
    """A connection in UTC, without autocommit.

    Raises:
        ServiceUnavailable: the server does not let us in within 5 seconds.
    """
    address = find_connection(connection_id)
    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port or 3306,
            user=address.login,
            password=address.password or "",
            charset="utf8mb4",
            connect_timeout=5,
            init_command="SET time_zone = '+00:00'",
        )
    except pymysql.err.OperationalError as error:
        raise ServiceUnavailable(
            f"connection {connection_id!r} at {address.address}: {error.args[-1]}", fix="Start the services: make up"
        ) from None
    try:
        yield connection
    except pymysql.err.OperationalError as error:
        raise ServiceUnavailable(
            f"connection {connection_id!r} at {address.address}: {error.args[-1]}", fix="Look at: make status"
        ) from None
    finally:
        connection.close()


def now(cursor: Cursor) -> datetime:
    """The server's UTC wall clock."""
    cursor.execute("SELECT UTC_TIMESTAMP(6)")
    row = cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def insert(cursor: Cursor, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> int:
    """Insert rows, a thousand to a statement; how many. Commits nothing by itself."""
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    remaining, written = iter(rows), 0
    while batch := list(islice(remaining, BATCH)):
        cursor.executemany(statement, batch)
        written += len(batch)
    return written


def count(cursor: Cursor, table: str) -> int:
    """How many rows the server says a table has."""
    cursor.execute(f"SELECT COUNT(*) FROM {table}")
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
