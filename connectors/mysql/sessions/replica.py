"""Reader endpoints: tables are examined and read on a reader, but never before it has what the writer had.

`reader_host` (and `reader_port`) in a connection's extras name a replica or a cluster's reader endpoint. The writer
decides where a window ends, by its clock and its open transactions. Just after that, the writer's position is taken,
and every session on a reader proves that it has reached this position before it reads. This includes each connection of
a task: a reader endpoint may lead each of them to another replica, and a replica may fall behind later. So the lag of
replicas shifts no window and loses no row.

The position is the GTID position (MariaDB) or the executed GTID set (MySQL). Aurora's readers have no GTIDs, so there
it is a time of the writer, and the writer itself is asked about the reader (`aurora_readers`). TiDB needs no position:
all its servers read at one timestamp.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import JsonValue

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError, LakeferryError, ServiceUnavailable, SourceMoved
from connectors.mysql.sessions.aurora_readers import lacks
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import literal

MARIADB, MYSQL, AURORA = "mariadb_server_and_gtid_position", "mysql_gtid_set", "aurora_time"
SERVER, AURORA_WRITER = "server_id", "aurora_writer"
"""Positions of a connection without a reader: the id of the server that was planned at. On Aurora it is the current
writer, since instances share the storage. After a failover the address may lead elsewhere."""
USUAL_WAIT_SECONDS = 30
TASK_WAIT_SECONDS = 3
_WRITER_HOST, _WRITER_PORT = "writer_host", "writer_port"
"""Extras of a reader's connection that name its writer."""


def reader_of(connection: Connection) -> Connection:
    """Returns the connection on which tables are read: the reader that the connection names, or itself.

    Raises:
        ConfigurationError: `reader_port` is set without `reader_host`, or is not a number.
    """
    host, port = connection.extra.get("reader_host"), connection.extra.get("reader_port")
    if port is not None and (not host or not re.fullmatch(r"[0-9]{1,5}", port)):
        raise ConfigurationError(
            f"connection {connection.id}: reader_port is {port!r}, reader_host {host!r}",
            where=variable_name(connection.id),
            fix="Write reader_host=HOST&reader_port=PORT; without a port the connection's own is taken",
        )
    reader = replace(connection, host=host, port=int(port) if port else connection.port) if host else connection
    if reader == connection:
        return connection
    writer = {_WRITER_HOST: connection.host or "", _WRITER_PORT: str(connection.port or "")}
    return replace(reader, extra={**connection.extra, **writer})


def writer_of(reader: Connection) -> Connection:
    """Returns the writer of a connection that `reader_of` made."""
    port = reader.extra[_WRITER_PORT]
    return replace(reader, host=reader.extra[_WRITER_HOST], port=int(port) if port else None)


def writer_position(session: Session) -> dict[str, JsonValue]:
    """Returns the position: what the writer of this session has committed by now.

    Raises:
        ConfigurationError: the server writes no binary log with GTIDs, so no reader could prove anything.
    """
    if "MariaDB" in session.server_version:
        # MASTER_GTID_WAIT only knows what was replicated: the writer itself is recognised by its server_id.
        kind, position = MARIADB, session.value("SELECT CONCAT(@@server_id, ' ', NULLIF(@@gtid_binlog_pos, ''))")
    elif session.rows("SHOW VARIABLES LIKE 'aurora_version'"):
        return {AURORA: str(session.value("SELECT UTC_TIMESTAMP(6)"))}
    else:
        kind, position = MYSQL, session.value("SELECT @@GLOBAL.gtid_executed")
    if not position:
        connection = session.connection
        raise ConfigurationError(
            f"connection {connection.id}: {connection.address} writes no GTIDs, so its reader "
            f"{reader_of(connection).address} cannot prove that it has every row",
            where=variable_name(connection.id),
            fix="Turn on the binary log and GTIDs at the writer, or take reader_host out",
        )
    return {kind: str(position)}


def same_server(session: Session) -> dict[str, JsonValue]:
    """Returns what proves to later sessions at this writer's own address that their server has all its rows."""
    if "MariaDB" not in session.server_version and session.rows("SHOW VARIABLES LIKE 'aurora_version'"):
        return {AURORA_WRITER: "innodb_read_only is OFF"}
    return {SERVER: str(session.value("SELECT @@server_id"))}


def has_reached_sql(snapshot: Mapping[str, JsonValue] | None, wait_seconds: int) -> str | None:
    """Returns SQL that is true once the server that runs it has reached the writer's position; None if there is no
    position, or SQL cannot prove it."""
    kind = next((kind for kind in (MARIADB, MYSQL, SERVER, AURORA_WRITER) if kind in (snapshot or {})), None)
    text = str((snapshot or {}).get(kind or "", ""))
    match kind:
        case "mariadb_server_and_gtid_position":
            server_id, _, position = text.partition(" ")
            waited = f"MASTER_GTID_WAIT({literal('string', position)}, {wait_seconds:d})"
            return f"IF(@@server_id = {literal('number', server_id)}, TRUE, {waited} = 0)"
        case "mysql_gtid_set":
            return f"(WAIT_FOR_EXECUTED_GTID_SET({literal('string', text)}, {wait_seconds:d}) = 0)"
        case "server_id":
            return f"(@@server_id = {literal('number', text)})"
        case "aurora_writer":
            return "(@@global.innodb_read_only = 0)"
        case _:
            return None


def position_guard_sql(snapshot: Mapping[str, JsonValue] | None) -> dict[str, str]:
    """Returns a session variable whose value is an error (two rows in place of one) until the position is reached."""
    condition = has_reached_sql(snapshot, TASK_WAIT_SECONDS)
    return {"@lakeferry_has_passed": f"IF({condition}, 1, (SELECT 1 UNION SELECT 2))"} if condition else {}


def wait_for(session: Session, snapshot: Mapping[str, JsonValue] | None) -> None:
    """Returns once the session's server has reached the writer's position.

    Raises:
        ServiceUnavailable: it has not within `reader_wait_seconds` of the connection's extras.
        SourceMoved: it is not the server that was planned at.
    """
    limit = wait_limit_seconds(session.connection)
    prove_by_writer(session, snapshot, limit)
    condition = has_reached_sql(snapshot, wait_seconds=1)
    if condition is None:
        return
    until = time.monotonic() + limit
    while not session.value(f"SELECT {condition}"):
        if {SERVER, AURORA_WRITER} & set(snapshot or {}) or time.monotonic() >= until:
            raise refuted(session.connection, snapshot)
        session.rows("DO SLEEP(0.2)")


def prove_by_writer(
    session: Session, snapshot: Mapping[str, JsonValue] | None, wait_seconds: float = TASK_WAIT_SECONDS
) -> None:
    """Returns once the writer says that the session's server has reached the position; at once if the position is not
    Aurora's.

    Raises:
        ServiceUnavailable: the writer does not say so within `wait_seconds`, or does not answer.
    """
    writer_time = (snapshot or {}).get(AURORA)
    if writer_time is None:
        return
    connection = session.connection
    # If `reader_host` was removed after the plan was made, the connection itself leads to the writer.
    writer = writer_of(connection) if _WRITER_HOST in connection.extra else connection
    reason = lacks(session, writer, datetime.fromisoformat(str(writer_time)), wait_seconds)
    if reason is not None:
        raise behind(connection, reason)


def usual_wait_seconds(snapshot: Mapping[str, JsonValue] | None) -> float:
    """Returns how long a reader that keeps up may take to prove it. Aurora records its lag about once a second, and two
    more seconds are for its clocks."""
    return 5.0 if AURORA in (snapshot or {}) else 1.0


def wait_limit_seconds(connection: Connection) -> int:
    """Returns how long planning waits for a reader.

    Raises:
        ConfigurationError: `reader_wait_seconds` is not a whole number of seconds up to 3600.
    """
    text = connection.extra.get("reader_wait_seconds", str(USUAL_WAIT_SECONDS))
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > 3600:
        raise ConfigurationError(
            f"connection {connection.id}: reader_wait_seconds is {text!r}",
            where=variable_name(connection.id),
            fix="Write whole seconds up to 3600",
        )
    return int(text)


def refuted(connection: Connection, snapshot: Mapping[str, JsonValue] | None) -> LakeferryError:
    """Returns the error for a server on which the SQL of `has_reached_sql` is not true."""
    if SERVER in (snapshot or {}):
        return SourceMoved(
            f"{connection.id} ({connection.address}) leads to another server than when this was planned: it may lack "
            "rows that the planned one had",
            fix="Plan again. If the address leads to several servers by turns, name the writer's own",
        )
    if AURORA_WRITER in (snapshot or {}):
        return ServiceUnavailable(
            f"{connection.id} ({connection.address}) no longer leads to the writer of its cluster",
            fix="After a failover the address may lead to the old writer for some seconds: run again",
        )
    return behind(connection)


def behind(connection: Connection, reason: str | None = None) -> ServiceUnavailable:
    """Returns the error for a reader that has not reached the writer's position in time."""
    return ServiceUnavailable(
        f"reader {connection.id} ({connection.address}) is behind: it has not got what the writer had committed "
        f"when this was planned{f' ({reason})' if reason else ''}",
        fix="Look at its replication and run it again; raise reader_wait_seconds, or take reader_host out of "
        f"{variable_name(connection.id)} to read from the writer",
    )
