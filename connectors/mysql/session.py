"""Sessions with a MySQL-speaking server: PyMySQL for the control plane, JDBC properties for Spark.

Both are opened the same way: UTC, utf8mb4, the plain `sql_mode`, TLS as the connection says.
`ssl_mode` in the connection's extras takes MySQL's own words (manual, `--ssl-mode`): `disabled`,
`required`, `verify_ca` and `verify_identity`, the last two with `ssl_ca`, a PEM file. Where nothing
is said it is `required`, and `disabled` on the loopback interface.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

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

CONNECT_TIMEOUT = 5
SHORT_READ_TIMEOUT = 8
LONG_READ_TIMEOUT = 1800
"""Seconds to wait for an answer: to a handshake or a look into the catalog, and to a count of a large table."""
FETCH_SIZE = 10_000
DRIVER = "org.mariadb.jdbc.Driver"
DEFAULT_PORT = 3306
SESSION_VARIABLES = {"time_zone": "'+00:00'", "sql_mode": "'NO_ENGINE_SUBSTITUTION'"}

_JDBC_SSL_MODES = {
    "disabled": "disable",
    "required": "trust",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

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
_MOVED = {_ER_TIDB_SNAPSHOT_TOO_OLD, _ER_TIDB_GC_TOO_EARLY}


class Session:
    """An open PyMySQL connection that speaks in Lakeferry's errors."""

    def __init__(self, connection: Connection, raw: pymysql.connections.Connection[Any]) -> None:
        self.connection = connection
        self._raw = raw

    @cached_property
    def server_version(self) -> str:
        """What the server says to `SELECT VERSION()`."""
        return str(self.value("SELECT VERSION()"))

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; all its rows."""
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(sql, tuple(parameters) or None)
                return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise told(self.connection, error) from error

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first column of the first row, or None where there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None


@contextmanager
def open_session(connection: Connection, read_timeout: int = SHORT_READ_TIMEOUT) -> Iterator[Session]:
    """Connect; closed on leaving. `read_timeout` in seconds holds for each answer.

    Raises:
        ServiceUnavailable: nothing answers, or not in time.
        AccessDenied: the server refuses the login.
        ConfigurationError: the extras do not say how to use TLS.
    """
    tls: dict[str, Any] = (
        {"ssl_disabled": True} if ssl_mode(connection) == "disabled" else {"ssl": ssl_context(connection)}
    )
    variables = ", ".join(f"{name} = {value}" for name, value in SESSION_VARIABLES.items())
    try:
        raw = pymysql.connect(
            host=connection.host or "",
            port=connection.port or DEFAULT_PORT,
            user=connection.login or "",
            password=connection.password or "",
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            write_timeout=SHORT_READ_TIMEOUT,
            autocommit=True,
            init_command=f"SET {variables}",
            **tls,
        )
    except pymysql.MySQLError as error:
        raise told(connection, error) from error
    try:
        yield Session(connection, raw)
    finally:
        raw.close()


def told(connection: Connection, error: pymysql.MySQLError) -> LakeferryError:
    """A PyMySQL error in terms of what to do about it. The server's text holds no password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    server = f"{connection.id} ({connection.address})"
    if code in _DENIED:
        return AccessDenied(
            f"{server} refused {connection.login!r}: {text}",
            fix=f"Check login and password in {variable_name(connection.id)}, or grant the right",
        )
    if code in _MISSING:
        return ObjectNotFound(f"{server} says: {text}")
    if code in _MOVED:
        return SourceMoved(
            f"{server} no longer has the planned snapshot: {text}",
            fix="Plan again; if loads take longer than the garbage collector waits, raise it: "
            "SET GLOBAL tidb_gc_life_time = '24h'",
        )
    if code == CR.CR_SSL_CONNECTION_ERROR or isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        return ConfigurationError(
            f"{server}: TLS failed: {text}",
            fix=f"Set ssl_mode and ssl_ca in {variable_name(connection.id)} to what the server offers; ssl_mode is "
            f"{ssl_mode(connection)}",
        )
    if code in (CR.CR_CONN_HOST_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.CON_COUNT_ERROR):
        return ServiceUnavailable(
            f"{server} does not answer: {text}",
            fix=f"Start the server, or correct host and port in {variable_name(connection.id)}",
        )
    return ServiceError(f"{server} failed with error {code}: {text}")


def ssl_mode(connection: Connection) -> str:
    """The connection's TLS mode.

    Raises:
        ConfigurationError: not one of MySQL's words, or a verifying mode that names no readable `ssl_ca`.
    """
    mode = connection.extra.get("ssl_mode", "disabled" if connection.host in _LOOPBACK else "required").lower()
    if mode not in _JDBC_SSL_MODES:
        raise ConfigurationError(
            f"connection {connection.id}: ssl_mode is {mode!r}",
            where=variable_name(connection.id),
            choices=list(_JDBC_SSL_MODES),
        )
    authority = connection.extra.get("ssl_ca")
    if mode.startswith("verify") and not (authority and Path(authority).is_file()):
        raise ConfigurationError(
            f"connection {connection.id}: ssl_mode {mode} needs ssl_ca, and {authority or 'none'} is no file here",
            where=variable_name(connection.id),
            fix="Add ssl_ca=/path/of/authority.pem (for Aurora, the bundle of the region from AWS)",
        )
    return mode


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """The TLS settings PyMySQL uses; not for `disabled`."""
    mode = ssl_mode(connection)
    if mode == "required":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context = ssl.create_default_context(cafile=connection.extra["ssl_ca"])
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"connection {connection.id}: ssl_ca {connection.extra['ssl_ca']} is not a PEM file of certificates",
            where=variable_name(connection.id),
        ) from error
    context.check_hostname = mode == "verify_identity"
    return context


def jdbc_options(connection: Connection, session_variables: dict[str, str]) -> dict[str, str]:
    """Options of Spark's JDBC source. The password is one of its own, which Spark redacts; the URL has none.

    `jdbc:mysql:` makes Spark quote names as MySQL does; under `jdbc:mariadb:` it compares strings.
    """
    host = connection.host or ""
    mode = ssl_mode(connection)
    parameters = {
        "permitMysqlScheme": "true",
        "sslMode": _JDBC_SSL_MODES[mode],
        "connectTimeout": str(CONNECT_TIMEOUT * 1000),
        "socketTimeout": str(LONG_READ_TIMEOUT * 1000),
        "tcpKeepAlive": "true",
        "tinyInt1isBit": "false",
        "yearIsDateType": "false",
        "transactionIsolation": "REPEATABLE-READ",
    }
    if mode.startswith("verify"):
        parameters["serverSslCert"] = connection.extra["ssl_ca"]
    if session_variables:
        # Spark looks the columns up on a connection that gets no sessionInitStatement: without the snapshot it
        # would see those of now.
        parameters["sessionVariables"] = ",".join(f"{name}={value}" for name, value in session_variables.items())
    address = f"[{host}]" if ":" in host else host
    query = urlencode(parameters, quote_via=quote, safe="/=,'")
    variables = ", ".join(f"{name} = {value}" for name, value in (SESSION_VARIABLES | session_variables).items())
    return {
        "url": f"jdbc:mysql://{address}:{connection.port or DEFAULT_PORT}/?{query}",
        "driver": DRIVER,
        "user": connection.login or "",
        "password": connection.password or "",
        "sessionInitStatement": f"SET {variables}",
        "fetchsize": str(FETCH_SIZE),
        "pushDownPredicate": "false",
        "pushDownAggregate": "false",
        "pushDownLimit": "false",
    }
