"""The MariaDB that all contenders read from: statements, its CPU time, and how to wait until it rests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from connectors.connection import Connection, find_connection
from connectors.errors import ServiceUnavailable
from tests.bench.proc import cpu_seconds, name_of

CONNECTION_ID = "aurora_payments"
DATABASE = "bench"
_REST_SHARE = 0.03
_REST_SECONDS = 1.0
_RESTS_IN_A_ROW = 2
_PATIENCE_SECONDS = 180.0
_ROOM = 1.3
_STEP_BYTES = 128 << 20
"""What the size of a pool is a multiple of, where nobody set it otherwise (innodb_buffer_pool_chunk_size)."""


class Server:
    """One open connection to the server, and its process where it runs on this machine."""

    def __init__(self) -> None:
        self.connection: Connection = find_connection(CONNECTION_ID)
        self._raw = pymysql.connect(
            host=self.connection.host,
            port=self.connection.port or 3306,
            user=self.connection.login,
            password=self.connection.password or "",
            charset="utf8mb4",
            autocommit=True,
            init_command="SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        )
        self.version = str(self.value("SELECT VERSION()")).partition("-")[0]
        self.pid = self._find_pid()

    def execute(self, statement: str) -> int:
        """Run a statement; how many rows it changed."""
        with self._raw.cursor() as cursor:
            return cursor.execute(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._raw.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def value(self, statement: str) -> Any:
        """The first column of the first row."""
        return self.rows(statement)[0][0]

    def cpu_seconds(self) -> float | None:
        """What the server's process has used; None where it is not on this machine."""
        return cpu_seconds(self.pid) if self.pid is not None else None

    def rest(self) -> None:
        """Return once the server is done with what it does behind its clients' backs (flush, purge), or after a
        few minutes."""
        until = time.monotonic() + _PATIENCE_SECONDS
        rests = 0
        while self.pid is not None and rests < _RESTS_IN_A_ROW and time.monotonic() < until:
            before = self.cpu_seconds() or 0.0
            time.sleep(_REST_SECONDS)
            used = (self.cpu_seconds() or 0.0) - before
            rests = rests + 1 if used < _REST_SHARE * _REST_SECONDS else 0

    def pool_bytes(self) -> int:
        """How much of its tables the server keeps in memory."""
        return int(self.value("SELECT @@innodb_buffer_pool_size"))

    @contextmanager
    def pool_for(self, table_bytes: int) -> Iterator[None]:
        """A pool that holds tables of that size and some more, and the one it had afterwards.

        A production server has most of its machine's memory for it; the local one is small, as it stands on
        a desk beside everything else.
        """
        steps = -(-int(table_bytes * _ROOM) // _STEP_BYTES)
        with self.pool_of(max(self.pool_bytes(), steps * _STEP_BYTES)):
            yield

    @contextmanager
    def pool_of(self, size_bytes: int) -> Iterator[None]:
        """A pool of that size, and the one it had afterwards."""
        had = self.pool_bytes()
        self._resize_pool(size_bytes)
        try:
            yield
        finally:
            self._resize_pool(had)

    def _resize_pool(self, size_bytes: int) -> None:
        """Say the size and wait until it holds.

        Raises:
            ServiceUnavailable: it does not after a few minutes.
        """
        self.execute(f"SET GLOBAL innodb_buffer_pool_size = {size_bytes}")
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.pool_bytes() != size_bytes:
            if time.monotonic() > until:
                raise ServiceUnavailable(
                    f"{CONNECTION_ID} did not make its buffer pool {size_bytes:,} bytes large", fix="make down up"
                )
            time.sleep(_REST_SECONDS)

    def url(self, scheme: str) -> str:
        """The database's address for other clients. It holds the password: for environments, not for arguments."""
        login, password = quote(self.connection.login or "", safe=""), quote(self.connection.password or "", safe="")
        return f"{scheme}://{login}:{password}@{self.connection.host}:{self.connection.port or 3306}/{DATABASE}"

    def _find_pid(self) -> int | None:
        folder, file = self.rows("SELECT @@datadir, @@pid_file")[0]
        try:
            pid = int((Path(folder) / file).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if (name_of(pid) or "").startswith(("mariadbd", "mysqld")) else None


def open_server() -> Server:
    """Connect.

    Raises:
        ServiceUnavailable: nothing answers.
    """
    try:
        return Server()
    except pymysql.MySQLError as error:
        raise ServiceUnavailable(f"{CONNECTION_ID} does not answer: {error.args[-1]}", fix="make up") from None
