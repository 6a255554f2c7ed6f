"""A database of the tests' own on MariaDB (aurora) and on TiDB, written and read without the code under test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
import pytest

from connectors.base import ReadRequest, SourceSettings
from connectors.connection import Connection, find_connection
from connectors.mysql import AuroraSource, MySQLOptions, TiDBSource
from connectors.mysql.source import MySQLSource

SOURCES: dict[str, type[MySQLSource]] = {"aurora": AuroraSource, "tidb": TiDBSource}
CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}


class Server:
    """One server with one database, and the source that reads it."""

    def __init__(self, source_type: str) -> None:
        self.source_type = source_type
        self.connection: Connection = find_connection(CONNECTIONS[source_type])
        self.database = f"mysql_tests_{uuid.uuid4().hex[:8]}"
        self.session = self.connect()
        self.run(f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4")

    def connect(self) -> pymysql.connections.Connection[Any]:
        return pymysql.connect(
            host=self.connection.host,
            port=self.connection.port or 0,
            user=self.connection.login,
            password=self.connection.password or "",
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,
            init_command="SET time_zone = '+00:00', sql_mode = ''",
        )

    def run(self, sql: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self.session.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def table(self, columns: str) -> str:
        """Make a table; its `database.table`."""
        name = f"{self.database}.t_{uuid.uuid4().hex[:8]}"
        self.run(f"CREATE TABLE {name} ({columns})")
        return name

    def analyze(self, table: str) -> None:
        """Gather statistics of all rows."""
        # TiDB answers before a commit has reached every row, and ANALYZE passes over those it has not reached; a
        # reader clears them up.
        self.run(f"SELECT COUNT(*) FROM {table}")
        self.run(f"ANALYZE TABLE {table}")

    def source(
        self, rows_per_slice: int = 500_000, connection: Connection | None = None, *, plans_one_run: bool = False
    ) -> MySQLSource:
        wanted = SourceSettings(rows_per_slice=rows_per_slice, plans_one_run=plans_one_run)
        return SOURCES[self.source_type](connection or self.connection, wanted)

    def dataset(
        self,
        table: str,
        cursor: str | list[str] | None = None,
        lag_seconds: int = 1,
        key: tuple[str, ...] = (),
        **more: object,
    ) -> ReadRequest:
        options = MySQLOptions.model_validate({"table": table, "cursor": cursor, "lag_seconds": lag_seconds, **more})
        return ReadRequest("tests", "things", key, options)

    def close(self) -> None:
        self.run(f"DROP DATABASE {self.database}")
        self.session.close()


@pytest.fixture(scope="module", params=sorted(SOURCES))
def server(request: pytest.FixtureRequest, settings: object) -> Iterator[Server]:
    made = Server(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def aurora(settings: object) -> Iterator[Server]:
    made = Server("aurora")
    yield made
    made.close()


@pytest.fixture(scope="module")
def tidb(settings: object) -> Iterator[Server]:
    made = Server("tidb")
    yield made
    made.close()
