"""The MariaDB that all contenders read from: statements, its CPU time, and how to wait until it rests."""

from __future__ import annotations

import time
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
