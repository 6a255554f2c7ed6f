"""A reader endpoint: tables are looked at and read there, never before it has what the writer had.

`reader_host` (and `reader_port`) in a connection's extras name a replica or a cluster's reader endpoint.
Where a window ends is the writer's to say, by its clock and its open transactions. Just after that look
the writer's mark is taken, and every session on a reader proves that it has passed the mark before it
reads, each connection of a task too: a reader endpoint may lead each to another replica, and a replica that
falls behind later is found out as well. So how far replicas lag shifts no window and loses no row.

The mark is the GTID position (MariaDB), the executed GTID set (MySQL), or on Aurora, whose readers share
the writer's storage and have no GTIDs of it, a time that the reader's own lag must have passed (AWS,
Aurora User Guide, `information_schema.replica_host_status`). TiDB needs none: all its servers read at
one timestamp.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError, ServiceUnavailable
from connectors.mysql.session import Session
from connectors.mysql.sql import literal

MARIADB, MYSQL, AURORA = "mariadb_server_and_gtid_position", "mysql_gtid_set", "aurora_time"
USUAL_WAIT_SECONDS = 30
TASK_WAIT_SECONDS = 3
_AURORA_MARGIN_SECONDS = 2
"""Aurora tells a reader's lag about once a second, and clocks of a cluster differ by milliseconds."""


def reader_of(connection: Connection) -> Connection:
    """Where tables are read: the reader that the connection names, or itself.

    Raises:
        ConfigurationError: `reader_port` without `reader_host`, or no number.
    """
    host, port = connection.extra.get("reader_host"), connection.extra.get("reader_port")
    if port is not None and (not host or not re.fullmatch(r"[0-9]{1,5}", port)):
        raise ConfigurationError(
            f"connection {connection.id}: reader_port is {port!r}, reader_host {host!r}",
            where=variable_name(connection.id),
            fix="Write reader_host=HOST&reader_port=PORT; without a port the connection's own is taken",
        )
    return replace(connection, host=host, port=int(port) if port else connection.port) if host else connection


def mark(session: Session) -> dict[str, JsonValue]:
    """What the writer of this session has committed by now.

    Raises:
        ConfigurationError: the server writes no binary log with GTIDs, so no reader could prove anything.
    """
    if "MariaDB" in session.server_version:
        # MASTER_GTID_WAIT knows what was replicated alone: the writer itself is told by its number.
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


def passed(snapshot: Mapping[str, JsonValue] | None, wait_seconds: int) -> str | None:
    """SQL that is true once the server it is asked of has passed the mark; None without a mark."""
    kind = next((kind for kind in (MARIADB, MYSQL, AURORA) if kind in (snapshot or {})), None)
    text = str((snapshot or {}).get(kind or "", ""))
    match kind:
        case "mariadb_server_and_gtid_position":
            server_id, _, position = text.partition(" ")
            waited = f"MASTER_GTID_WAIT({literal('string', position)}, {wait_seconds:d})"
            return f"IF(@@server_id = {literal('number', server_id)}, TRUE, {waited} = 0)"
        case "mysql_gtid_set":
            return f"(WAIT_FOR_EXECUTED_GTID_SET({literal('string', text)}, {wait_seconds:d}) = 0)"
        case "aurora_time":
            return (
                "EXISTS (SELECT 1 FROM information_schema.replica_host_status"
                " WHERE server_id = @@aurora_server_id AND UTC_TIMESTAMP(6)"
                f" - INTERVAL ({_AURORA_MARGIN_SECONDS} + replica_lag_in_milliseconds / 1000) SECOND"
                f" > {literal('datetime', text)})"
            )
        case _:
            return None


def proof(snapshot: Mapping[str, JsonValue] | None) -> dict[str, str]:
    """A session variable whose value is an error (two rows where one may be) until the mark is passed."""
    condition = passed(snapshot, TASK_WAIT_SECONDS)
    return {"@lakeferry_has_passed": f"IF({condition}, 1, (SELECT 1 UNION SELECT 2))"} if condition else {}


def wait_for(session: Session, snapshot: Mapping[str, JsonValue] | None) -> None:
    """Return once the session's server has passed the mark.

    Raises:
        ServiceUnavailable: not within `reader_wait_seconds` of the connection's extras.
    """
    condition = passed(snapshot, wait_seconds=1)
    if condition is None:
        return
    until = time.monotonic() + wait_limit_seconds(session.connection)
    while not session.value(f"SELECT {condition}"):
        if time.monotonic() >= until:
            raise behind(session.connection)
        session.rows("DO SLEEP(0.2)")


def wait_limit_seconds(connection: Connection) -> int:
    """How long planning waits for a reader.

    Raises:
        ConfigurationError: `reader_wait_seconds` is no whole number of seconds up to 3600.
    """
    given = connection.extra.get("reader_wait_seconds", str(USUAL_WAIT_SECONDS))
    if not re.fullmatch(r"[0-9]{1,4}", given) or int(given) > 3600:
        raise ConfigurationError(
            f"connection {connection.id}: reader_wait_seconds is {given!r}",
            where=variable_name(connection.id),
            fix="Write whole seconds up to 3600",
        )
    return int(given)


def behind(connection: Connection) -> ServiceUnavailable:
    """The error for a reader that has not passed the mark in time."""
    return ServiceUnavailable(
        f"reader {connection.id} ({connection.address}) is behind: it has not got what the writer had committed "
        "when this was planned",
        fix="Look at its replication and run it again; raise reader_wait_seconds, or take reader_host out of "
        f"{variable_name(connection.id)} to read from the writer",
    )
