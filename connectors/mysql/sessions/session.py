"""Sessions with a MySQL-speaking server, for planning and for reading: UTC, utf8mb4, a fixed plain `sql_mode`, TLS as
the connection says, and a login that keeps the password."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from connectors.connection import Connection, variable_name
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    LakeferryError,
    ObjectNotFound,
    ServiceError,
    ServiceUnavailable,
    SourceMoved,
)
from connectors.mysql.sessions.login import GuardedConnection
from connectors.mysql.sessions.tls import fault_of, ssl_context, ssl_mode, tls_error

CONNECT_TIMEOUT = 5
SHORT_READ_TIMEOUT = 8
LONG_READ_TIMEOUT = 900
"""Seconds to wait for the next part of an answer: short for a handshake or a look into the catalog, long for a count
or a slice of a large table. `read_timeout_seconds` in the connection's extras replaces the latter."""
DEFAULT_PORT = 3306
SESSION_VARIABLES = {"time_zone": "'+00:00'", "sql_mode": "'NO_ENGINE_SUBSTITUTION'"}

_ER_TIDB_SNAPSHOT_TOO_OLD = 8055
_ER_TIDB_GC_TOO_EARLY = 9006
_DENIED = {
    ER.ACCESS_DENIED_ERROR,
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.HOST_NOT_PRIVILEGED,
    ER.HOST_IS_BLOCKED,
    1698,  # ACCESS_DENIED_NO_PASSWORD_ERROR
    3118,  # ACCOUNT_HAS_BEEN_LOCKED
    4151,  # MariaDB: account is locked
}
_MISSING = {ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR}
_BROKEN_VIEW = {
    ER.VIEW_INVALID,
    ER.NO_SUCH_USER,  # the view's definer
    ER.SP_DOES_NOT_EXIST,
}
_MOVED = {_ER_TIDB_SNAPSHOT_TOO_OLD, _ER_TIDB_GC_TOO_EARLY}
_UNANSWERED = {CR.CR_CONN_HOST_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}
_BUSY = {
    ER.CON_COUNT_ERROR,
    ER.SERVER_SHUTDOWN,
    1927,  # MariaDB: connection was killed
}


class Session:
    """An open PyMySQL connection that raises Lakeferry's errors."""

    def __init__(self, connection: Connection, raw: pymysql.connections.Connection[Any]) -> None:
        self.connection = connection
        self.raw = raw

    @cached_property
    def server_version(self) -> str:
        """The server's answer to `SELECT VERSION()`."""
        return str(self.value("SELECT VERSION()"))

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement; returns all its rows."""
        try:
            with self.raw.cursor() as cursor:
                cursor.execute(sql, tuple(parameters) or None)
                return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise translate_error(self.connection, error) from error

    def records(self, sql: str) -> list[Mapping[str, Any]]:
        """Runs one statement whose columns differ between servers; returns its rows as {column name: value}."""
        try:
            with self.raw.cursor() as cursor:
                cursor.execute(sql)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except pymysql.MySQLError as error:
            raise translate_error(self.connection, error) from error

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """Returns the first column of the first row, or None if there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None


@contextmanager
def open_session(
    connection: Connection, read_timeout: int = SHORT_READ_TIMEOUT, variables: Mapping[str, str] | None = None
) -> Iterator[Session]:
    """Opens a session and closes it on leaving. `read_timeout` (seconds) applies to each answer. `variables` of the
    session, as SQL text, are set before the first statement.

    Raises:
        ServiceUnavailable: nothing answers, or not in time.
        AccessDenied: the server refuses the login.
        ConfigurationError: the extras do not say how to use TLS, the server's TLS is not what they ask for, or the
            login would reveal the password to the server.
    """
    tls: dict[str, Any] = (
        {"ssl_disabled": True} if ssl_mode(connection) == "disabled" else {"ssl": ssl_context(connection)}
    )
    set_first = ", ".join(f"{name} = {value}" for name, value in {**SESSION_VARIABLES, **(variables or {})}.items())
    try:
        raw = GuardedConnection(
            connection,
            host=host_of(connection),
            port=connection.port or DEFAULT_PORT,
            user=connection.login or "",
            password=connection.password or "",
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            write_timeout=SHORT_READ_TIMEOUT,
            autocommit=True,
            init_command=f"SET {set_first}",
            **tls,
        )
    except pymysql.MySQLError as error:
        raise translate_error(connection, error) from error
    try:
        yield Session(connection, raw)
    finally:
        raw.close()


def translate_error(connection: Connection, error: pymysql.MySQLError) -> LakeferryError:
    """Returns a PyMySQL error as the Lakeferry error that says what to do about it. The server's text holds no
    password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    original = getattr(error, "original_exception", None)
    if fault := fault_of(original):
        return tls_error(connection, fault, getattr(original, "verify_message", None) or text)
    if code == CR.CR_SSL_CONNECTION_ERROR:
        return tls_error(connection, "plaintext", text)
    return server_error(connection, None if code in _UNANSWERED else code, text)


def server_error(connection: Connection, code: int | None, text: str) -> LakeferryError:
    """Returns the error for a number and text that the server sent; None for the number if it does not answer."""
    server = f"{connection.id} ({connection.address})"
    if code in _DENIED:
        return AccessDenied(
            f"{server} refused {connection.login!r}: {text}",
            fix=f"Check login and password in {variable_name(connection.id)}, or grant the right",
        )
    if code in _MISSING:
        return ObjectNotFound(f"{server} says: {text}")
    if code in _BROKEN_VIEW:
        return ObjectNotFound(f"{server} failed with error {code}: {text}", fix="Repair the view at the source")
    if code in _MOVED:
        return SourceMoved(
            f"{server} no longer has the planned snapshot: {text}",
            fix="Plan again; if loads take longer than the garbage collector waits, raise it: "
            "SET GLOBAL tidb_gc_life_time = '24h'",
        )
    if code is None or code in _BUSY:
        return ServiceUnavailable(
            f"{server} does not answer: {text}",
            fix=f"Start the server, or correct host and port in {variable_name(connection.id)}",
        )
    return ServiceError(f"{server} failed with error {code}: {text}")


def read_timeout_seconds(connection: Connection) -> int:
    """Returns how long the server may be silent in the middle of a long answer.

    Raises:
        ConfigurationError: `read_timeout_seconds` is not a whole number of seconds from 1 to 86400.
    """
    text = connection.extra.get("read_timeout_seconds", str(LONG_READ_TIMEOUT))
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 86_400:
        raise ConfigurationError(
            f"connection {connection.id}: read_timeout_seconds is {text!r}",
            where=variable_name(connection.id),
            fix="Write whole seconds from 1 to 86400",
        )
    return int(text)


def host_of(connection: Connection) -> str:
    """Returns the connection's host.

    Raises:
        ConfigurationError: the host is missing (PyMySQL would take this machine), or the text is more than a host.
    """
    host = connection.host or ""
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ConfigurationError(
            f"connection {connection.id}: {host!r} is not a host name",
            where=variable_name(connection.id),
            fix="Write mysql://LOGIN:PASSWORD@HOST:PORT/",
        )
    return host
