"""Whether a server is the one that a table's rows are written on: it alone knows where a window may end.

A replica shows neither the rows that are still on their way to it nor the open transactions of its writer. A window
that ends by its clock leaves such rows behind for good. So a server proves by its own words that it is the writer:

- `innodb_read_only` is ON at the readers of an Aurora cluster and OFF at its writer (AWS, "Why do I get a read-only
  error after an Aurora MySQL DB cluster fails over?"), `read_only` at most other replicas.
- `SHOW ALL SLAVES STATUS` (MariaDB) and `SHOW REPLICA STATUS` (MySQL; before 8.0.22 `SHOW SLAVE STATUS`) list where
  rows come from, also at a server that takes writes: a replica across regions, or one of several sources. They need
  REPLICA MONITOR, or REPLICATION CLIENT. Without the right MariaDB's status variable `Slaves_running` counts appliers.
- Other nodes of a Galera cluster (`wsrep_cluster_size`) or of a replication group with several primaries
  (`group_replication_single_primary_mode`) write as well, and their open transactions are theirs.
- A TiDB cluster that another one replicates to is read-only but for the replicator (TiDB manual,
  `tidb_restricted_read_only`).

What cannot be proved needs a word in the connection, `server_role`. No word overrides what a server says plainly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.connection import Connection, variable_name
from connectors.errors import AccessDenied, ConfigurationError, LakeferryError, ServiceError, ServiceUnavailable
from connectors.mysql.session import Session

ROLE = "server_role"
WRITER, ARCHIVE = "writer", "archive"
_NAMES = (
    "aurora_version",
    "group_replication_group_name",
    "group_replication_single_primary_mode",
    "innodb_read_only",
    "read_only",
    "super_read_only",
    "tidb_restricted_read_only",
    "tidb_super_read_only",
    "wsrep_on",
)
_ER_PARSE = 1064
_RISK = "rows that reach it late would fall behind a window and never be read"


@dataclass(frozen=True)
class Doubt:
    """Why a server may not be the writer, as the end of a sentence about it, and what to do.

    `certain`: the server says so; otherwise it only cannot be seen. `passing`: it may be over in a minute.
    """

    problem: str
    fix: str
    certain: bool = True
    passing: bool = False

    def for_window(self, connection: Connection) -> str:
        """The warning of a read by windows.

        Raises:
            ConfigurationError, ServiceUnavailable: the doubt is certain, for good or for now.
        """
        subject = f"{connection.id} ({connection.address})"
        if not self.certain:
            return f"{subject} {self.problem}: {_RISK} if it is a replica. {self.fix}"
        error: type[LakeferryError] = ServiceUnavailable if self.passing else ConfigurationError
        raise error(
            f"{subject} {self.problem}: {_RISK}",
            where=variable_name(connection.id),
            fix=self.fix,
        )

    def for_whole_read(self, connection: Connection) -> str | None:
        """The warning of a read of the whole table, which the next one corrects."""
        if not self.certain:
            return None
        return (
            f"{connection.id} ({connection.address}) {self.problem}: the rows are those it has by now, and the next "
            "run reads what it lacks"
        )


def declared_role(connection: Connection) -> str | None:
    """What the connection says of its server.

    Raises:
        ConfigurationError: neither of the words.
    """
    role = connection.extra.get(ROLE)
    if role not in (None, WRITER, ARCHIVE):
        raise ConfigurationError(
            f"connection {connection.id}: {ROLE} is {role!r}",
            where=variable_name(connection.id),
            choices=(WRITER, ARCHIVE),
            fix=f"Write {ROLE}={WRITER} where all rows of its tables are written on this server, {ROLE}={ARCHIVE} "
            "where none are written any more",
        )
    return role


def doubt_about(session: Session) -> Doubt | None:
    """Why the session's server may not be the writer; None where it is, or the connection says so and may.

    Raises:
        ConfigurationError: see `declared_role`.
    """
    role = declared_role(session.connection)
    listed = ", ".join(f"'{name}'" for name in _NAMES)
    variables = {
        str(name).lower(): str(value).upper()
        for name, value in session.rows(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({listed})")
    }
    on = {name for name, value in variables.items() if value in ("ON", "1")}
    if "aurora_version" in variables and "innodb_read_only" in on:
        return _aurora_reader(session)
    if "TiDB" in session.server_version:
        return _read_only(session, role) if on & {"tidb_restricted_read_only", "tidb_super_read_only"} else None
    channels = _channels(session)
    read_only = on & {"read_only", "super_read_only", "innodb_read_only"}
    if read_only and channels:
        return _replica(session, channels)
    if read_only:
        return _read_only(session, role)
    if role == WRITER:
        return None
    if channels:
        return _writable_replica(session, channels)
    others = _other_writers(session, variables)
    if others:
        return others
    return None if channels is not None else _unseen(session)


def _channels(session: Session) -> tuple[str, ...] | None:
    """Whence the server replicates, `HOST:PORT` each; None where the login may not see it."""
    mariadb = "MariaDB" in session.server_version
    try:
        found = _status(session, mariadb)
    except AccessDenied:
        appliers = session.rows("SHOW GLOBAL STATUS LIKE 'Slaves_running'") if mariadb else []
        return ("a server it does not name",) if appliers and int(appliers[0][1]) else None
    # The channels by which a group replicates are the group's affair (MySQL manual, Group Replication).
    own = [row for row in found if not str(row.get("Channel_Name", "")).startswith("group_replication_")]
    return tuple(
        f"{row.get('Source_Host') or row.get('Master_Host')}:{row.get('Source_Port') or row.get('Master_Port')}"
        for row in own
    )


def _status(session: Session, mariadb: bool) -> list[Mapping[str, Any]]:
    if mariadb:
        return session.records("SHOW ALL SLAVES STATUS")
    try:
        return session.records("SHOW REPLICA STATUS")
    except ServiceError as error:
        if error.__cause__ is None or error.__cause__.args[:1] != (_ER_PARSE,):
            raise
        return session.records("SHOW SLAVE STATUS")


def _variable(session: Session) -> str:
    return variable_name(session.connection.id)


def _as_reader(session: Session) -> str:
    connection = session.connection
    return f"reader_host={connection.host}" + (f"&reader_port={connection.port}" if connection.port else "")


def _replica(session: Session, channels: tuple[str, ...]) -> Doubt:
    return Doubt(
        f"is a read-only replica of {', '.join(channels)}",
        f"Write the writer as host in {_variable(session)}, and {_as_reader(session)} to read from this server",
    )


def _writable_replica(session: Session, channels: tuple[str, ...]) -> Doubt:
    return Doubt(
        f"takes writes and also replicates from {', '.join(channels)}",
        f"Write the writer as host in {_variable(session)}. If this server was promoted, remove the rest of its "
        "replication (RESET SLAVE ALL; RESET REPLICA ALL on MySQL). If all rows of the tables that are read are "
        f"written here, write {ROLE}={WRITER}",
    )


def _read_only(session: Session, role: str | None) -> Doubt | None:
    if role == ARCHIVE:
        return None
    return Doubt(
        "is read-only, so its rows come from elsewhere, or it is under maintenance",
        f"Run again when it takes writes, or write the server that does as host in {_variable(session)}. If nothing is "
        f"written to its tables any more, write {ROLE}={ARCHIVE}",
    )


def _aurora_reader(session: Session) -> Doubt:
    # Its name tells a reader that was meant from one that a failover put in the writer's place (AWS, Aurora endpoints).
    host = session.connection.host or ""
    passing = ".cluster-" in host and not host.partition(".")[2].startswith(("cluster-ro-", "cluster-custom-"))
    writers = session.rows(
        "SELECT server_id FROM information_schema.replica_host_status WHERE session_id = 'MASTER_SESSION_ID'"
    )
    named = f" (now instance {writers[0][0]})" if writers else ""
    if passing:
        fix = f"A failover is under way, or the address is cached: run again; the cluster has a writer{named}"
    else:
        fix = (
            f"Write the cluster's writer endpoint{named} as host in {_variable(session)}, and {_as_reader(session)} to "
            "read from this server"
        )
    return Doubt("is a reader of its Aurora cluster (innodb_read_only is ON)", fix, passing=passing)


def _other_writers(session: Session, variables: Mapping[str, str]) -> Doubt | None:
    fix = (
        f"If all rows of the tables that are read are written on this server, write {ROLE}={WRITER} in "
        f"{_variable(session)}"
    )
    if variables.get("wsrep_on") == "ON":
        size = session.rows("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'")
        if size and int(size[0][1]) > 1:
            return Doubt(f"is one of {size[0][1]} Galera nodes, and does not show the transactions of the others", fix)
    grouped = variables.get("group_replication_group_name", "")
    if grouped and variables.get("group_replication_single_primary_mode") == "OFF":
        return Doubt("is in a replication group with several primaries, and shows its own transactions only", fix)
    return None


def _unseen(session: Session) -> Doubt:
    right = "REPLICA MONITOR" if "MariaDB" in session.server_version else "REPLICATION CLIENT"
    return Doubt(
        f"takes writes, and whether it replicates cannot be seen by {session.connection.login!r}",
        f"GRANT {right} ON *.* TO {session.connection.login!r}. If all rows of its tables are written there, "
        f"{ROLE}={WRITER} in {_variable(session)} says so, too",
        certain=False,
    )
