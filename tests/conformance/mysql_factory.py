"""Tables with awkward values on MariaDB (aurora) and TiDB."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pymysql

from connectors.base import ReadRequest
from connectors.connection import Connection, find_connection
from connectors.mysql import MySQLOptions
from connectors.testing import Row, Sample, SourceFactory

CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}
LAG_SECONDS = 3600
"""So long that no transaction another test has open holds a window back."""
TABLE = """(
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    amount DECIMAL(18,2) NOT NULL,
    kind ENUM('SHORT','LONGER_KIND') NOT NULL,
    code CHAR(5),
    note VARCHAR(50),
    raw VARBINARY(8),
    day DATE,
    seen_at TIMESTAMP(3) NULL,
    updated_at DATETIME(6) NOT NULL,
    KEY (updated_at)
)"""


def open_factory(source_type: str) -> SourceFactory:
    return MySQLFactory(source_type)


class MySQLFactory(SourceFactory):
    """One database of its own on the server."""

    def __init__(self, source_type: str) -> None:
        super().__init__(source_type)
        self.product = {"aurora": "MariaDB", "tidb": "TiDB"}[source_type]
        self._connection = find_connection(CONNECTIONS[source_type])
        self._database = f"conformance_{uuid.uuid4().hex[:8]}"
        self._session = pymysql.connect(
            host=self._connection.host,
            port=self._connection.port or 0,
            user=self._connection.login,
            password=self._connection.password or "",
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,
            init_command="SET time_zone = '+00:00', sql_mode = ''",
        )
        self._run(f"CREATE DATABASE {self._database} CHARACTER SET utf8mb4")

    @property
    def connection(self) -> Connection:
        return self._connection

    def sample(self) -> Sample:
        dataset = self._make()
        self.near_name = dataset.options.table
        day = "2026-11-20"
        rows: list[Row] = [
            _row("1", "0.00", "SHORT", "a", "", "", "0001-01-01", None, f"{day} 00:00:00"),
            _row("2", "-9999999999999999.99", "LONGER_KIND", None, None, None, None, None, f"{day} 00:00:00.000001"),
            _row(
                "7",
                "9999999999999999.99",
                "SHORT",
                "",
                "trailing  ",
                "00FF",
                "9999-12-31",
                "1970-01-01 00:00:01",
                day + " 01:00:00",
            ),
            _row(
                "40",
                "1.10",
                "SHORT",
                "日本語",
                "🚢 'quoted' \\ `x`",
                "0A",
                day,
                "2026-03-08 02:30:00.123",
                "2026-03-08 02:30:00",
            ),
            _row(
                "900",
                "0.01",
                "SHORT",
                "b",
                "line\nbreak\ttab",
                None,
                day,
                "2026-11-01 05:59:59.999",
                "2026-11-01 01:30:00",
            ),
            _row("9223372036854775808", "5.00", "SHORT", "c", "NULL", "27", day, None, f"{day} 02:00:00"),
            _row("18446744073709551615", "6.00", "SHORT", "d", "x", "5C", day, None, f"{day} 03:00:00"),
        ]
        for row in rows:
            self._insert(dataset, row)
        zero = _row("41", "2.00", "SHORT", "z", "zero day", None, "0000-00-00", None, f"{day} 04:00:00")
        self._insert(dataset, zero)
        return Sample(dataset, ("id",), rows, ["0000-00-00"])

    def empty(self) -> ReadRequest:
        return self._make()

    def add(self, sample: Sample) -> list[Row]:
        table = sample.dataset.options.table
        added = _row("41000", "3.50", "LONGER_KIND", "new", "added", None, None, None, "")
        with self._session.cursor() as cursor:
            cursor.execute(f"SELECT UTC_TIMESTAMP(6) - INTERVAL {LAG_SECONDS} SECOND")
            [(now,)] = cursor.fetchall()
        row = added | {"updated_at": now.isoformat(sep=" ", timespec="microseconds").rstrip("0").rstrip(".")}
        self._insert(sample.dataset, row)
        if self.source_type == "tidb":
            # Only a server with snapshots still has, for the old plan, what is changed in place.
            self._run(f"UPDATE {table} SET note = 'changed' WHERE id = 40")
            self._run(f"DELETE FROM {table} WHERE id = 900")
        return [row]

    def unknown(self, sample: Sample) -> ReadRequest:
        return replace(sample.dataset, options=MySQLOptions(table=f"{sample.dataset.options.table}_gone"))

    def refused(self) -> Connection:
        return replace(self._connection, password="not-the-password")

    def down(self) -> Connection:
        return replace(self._connection, port=1)

    def close(self) -> None:
        self._run(f"DROP DATABASE {self._database}")
        self._session.close()

    def _make(self) -> ReadRequest:
        table = f"{self._database}.sample_{uuid.uuid4().hex[:8]}"
        self._run(f"CREATE TABLE {table} {TABLE}")
        options = MySQLOptions(table=table, cursor="updated_at", lag_seconds=LAG_SECONDS)
        return ReadRequest("conformance", "sample", ("id",), options)

    def _insert(self, dataset: ReadRequest, row: Row) -> None:
        values = [bytes.fromhex(value) if name == "raw" and value is not None else value for name, value in row.items()]
        marks = ", ".join(["%s"] * len(row))
        self._run(f"INSERT INTO {dataset.options.table} ({', '.join(row)}) VALUES ({marks})", values)

    def _run(self, sql: str, values: list[str | bytes | None] | None = None) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(sql, values)


def _row(*values: str | None) -> Row:
    names = ("id", "amount", "kind", "code", "note", "raw", "day", "seen_at", "updated_at")
    return dict(zip(names, values, strict=True))
