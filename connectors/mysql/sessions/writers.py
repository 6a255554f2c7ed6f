"""Whether a server is the one on which a table's rows are written: only that server knows where a window may end.

A replica shows neither the rows that are still on their way to it nor the open transactions of its writer. A window
that ends by its clock leaves such rows behind for good. So a server proves by its own answers that it is the writer:

- `innodb_read_only` is ON at the readers of an Aurora cluster and OFF at its writer: see AWS, "Why do I get a read-only
  error after an Aurora MySQL DB cluster fails over?". `read_only` is ON at most other replicas.
- `SHOW ALL SLAVES STATUS` (MariaDB) and `SHOW REPLICA STATUS` (MySQL; before 8.0.22 `SHOW SLAVE STATUS`) list the
  sources of a server's rows. They do so also at a server that takes writes: a replica across regions, or one of several
  sources. They need REPLICA MONITOR, or REPLICATION CLIENT. Without the right, MariaDB's status variable
  `Slaves_running` counts appliers.
- Other nodes of a Galera cluster (`wsrep_cluster_size`) or of a replication group with several primaries
  (`group_replication_single_primary_mode`) write as well, and only they show their own open transactions.
- A proxy that splits reads from writes sends SHOW to the writer and SELECT to a replica, and windows end by what SELECT
  says. So SELECT asks for the variables as well, and both must give the same `server_id`.
- A TiDB cluster that another one replicates to is read-only except for the replicator (TiDB manual,
  `tidb_restricted_read_only`).

A variable that restricts writes is on with every value except OFF and 0: MariaDB 12 has NO_LOCK and NO_LOCK_NO_ADMIN
(MariaDB documentation, `read_only`). A statement that is answered with an error, for example by a proxy, proves
nothing.

What cannot be proved needs a setting of the connection, `server_role`. The setting never overrides what a server says
plainly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.connection import Connection, variable_name
from connectors.errors import AccessDenied, ConfigurationError, LakeferryError, ServiceUnavailable
from connectors.mysql.sessions.session import Session

ROLE = "server_role"
WRITER, ARCHIVE = "writer", "archive"
_NAMES = (
    "aurora_version",
    "group_replication_group_name",
    "group_replication_single_primary_mode",
    "innodb_read_only",
    "read_only",
    "server_id",
    "super_read_only",
    "tidb_restricted_read_only",
    "tidb_super_read_only",
    "wsrep_on",
)
_SERVER_READ_ONLY = frozenset({"innodb_read_only", "read_only", "super_read_only"})
_TIDB_READ_ONLY = frozenset({"tidb_restricted_read_only", "tidb_super_read_only"})
_ASKED_TWICE = _SERVER_READ_ONLY | _TIDB_READ_ONLY | {"server_id"}
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
        """Returns the warning for a read by windows.

        Raises:
            ConfigurationError, ServiceUnavailable: the doubt is certain, and lasting or passing.
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
        """Returns the warning for a read of the whole table, which the next read corrects."""
        if not self.certain:
            return None
        return (
            f"{connection.id} ({connection.address}) {self.problem}: the rows are those it has by now, and the next "
            "run reads what it lacks"
        )


def declared_role(connection: Connection) -> str | None:
    """Returns the role that the connection gives its server.

    Raises:
        ConfigurationError: it is neither of the two words.
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
    """Returns why the session's server may not be the writer; None if it is, or if the connection may and does say so.

    Raises:
        ConfigurationError: see `declared_role`.
    """
    role = declared_role(session.connection)
    variables = _shown(session)
    selected = _selected(session, variables)
    on = _restricting(variables) | _restricting(selected)
    if "aurora_version" in variables and "innodb_read_only" in on:
        return _aurora_reader(session)
    if "TiDB" in session.server_version:
        return _read_only(session, role) if on & _TIDB_READ_ONLY else None
    if on & _SERVER_READ_ONLY:
        # A proxy answers SHOW for the writer, which may itself replicate from others.
        channels = _channels(session).sources if _restricting(variables) & _SERVER_READ_ONLY else ()
        return _replica(session, channels) if channels else _read_only(session, role)
    if role == WRITER:
        return None
    if variables.get("server_id") != selected.get("server_id", variables.get("server_id")):
        return _two_servers(session)
    seen = _channels(session)
    if seen.sources:
        return _writable_replica(session, seen.sources)
    return _other_writers(session, variables) or (None if variables and seen.sources is not None else seen.doubt)


def _shown(session: Session) -> Mapping[str, str]:
    """Returns the variables by SHOW, in capitals; empty if the statement is answered with an error."""
    listed = ", ".join(f"'{name}'" for name in _NAMES)
    rows = _answer(session, f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({listed})")
    return {str(name).lower(): str(value).upper() for name, value in rows or ()}


def _selected(session: Session, variables: Mapping[str, str]) -> Mapping[str, str]:
    """Returns, by SELECT, those of the variables that exist."""
    names = sorted(_ASKED_TWICE & variables.keys()) or ["innodb_read_only", "read_only"]
    rows = _answer(session, "SELECT " + ", ".join(f"@@global.{name}" for name in names))
    return {name: str(value).upper() for name, value in zip(names, (rows or [()])[0], strict=False)}


def _restricting(variables: Mapping[str, str]) -> set[str]:
    return {name for name in _SERVER_READ_ONLY | _TIDB_READ_ONLY if variables.get(name, "OFF") not in ("OFF", "0")}


def _answer(session: Session, sql: str) -> list[tuple[Any, ...]] | None:
    """Returns the rows of a statement; None if it is refused with any error.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    try:
        return session.rows(sql)
    except ServiceUnavailable:
        raise
    except LakeferryError:
        return None


@dataclass(frozen=True)
class _Channels:
    """The servers it replicates from, each as `HOST:PORT`; None if they cannot be seen, for the reason in `doubt`."""

    sources: tuple[str, ...] | None
    doubt: Doubt


def _channels(session: Session) -> _Channels:
    mariadb = "MariaDB" in session.server_version
    statements = ("SHOW ALL SLAVES STATUS",) if mariadb else ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
    doubt = _unseen(session, denied=False)
    for statement in statements:
        try:
            channels = session.records(statement)
        except ServiceUnavailable:
            raise
        except AccessDenied:
            doubt = _unseen(session, denied=True)
            break
        except LakeferryError:
            # The older statement is for a server before 8.0.22; a proxy may know neither.
            continue
        return _Channels(_sources(channels), doubt)
    appliers = _answer(session, "SHOW GLOBAL STATUS LIKE 'Slaves_running'") if mariadb else None
    return _Channels(("a server it does not name",) if appliers and int(appliers[0][1]) else None, doubt)


def _sources(channels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    # Group replication manages its own channels (MySQL manual, Group Replication).
    own = [row for row in channels if not str(row.get("Channel_Name", "")).startswith("group_replication_")]
    return tuple(
        f"{row.get('Source_Host') or row.get('Master_Host')}:{row.get('Source_Port') or row.get('Master_Port')}"
        for row in own
    )


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
    # The host's name distinguishes a reader that was intended from one that a failover put in the writer's place (AWS,
    # Aurora endpoints). The cluster endpoint of a secondary of a global database has such a name, too, but no instance
    # there is a writer.
    host = session.connection.host or ""
    cluster = ".cluster-" in host and not host.partition(".")[2].startswith(("cluster-ro-", "cluster-custom-"))
    writers = session.rows(
        "SELECT server_id FROM information_schema.replica_host_status WHERE session_id = 'MASTER_SESSION_ID'"
    )
    passing = cluster and bool(writers)
    named = f" (now instance {writers[0][0]})" if writers else ""
    if passing:
        fix = f"A failover is under way, or the address is cached: run again; the cluster has a writer{named}"
    else:
        which = "the cluster's writer endpoint" if writers else "the writer endpoint of the primary region's cluster"
        fix = (
            f"Write {which}{named} as host in {_variable(session)}, and {_as_reader(session)} to read from this server"
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


def _two_servers(session: Session) -> Doubt:
    return Doubt(
        "answers SHOW and SELECT from two servers (their server_id differs), as a proxy does that splits reads from "
        "writes",
        f"Write the writer itself as host in {_variable(session)}. If all rows of the tables that are read are written "
        f"on each of its servers, write {ROLE}={WRITER}",
    )


def _unseen(session: Session, denied: bool) -> Doubt:
    login, mariadb = session.connection.login, "MariaDB" in session.server_version
    right = "REPLICA MONITOR" if mariadb else "REPLICATION CLIENT"
    statement = "SHOW ALL SLAVES STATUS" if mariadb else "SHOW REPLICA STATUS"
    says = f"{ROLE}={WRITER} in {_variable(session)} says so"
    if denied:
        return Doubt(
            f"takes writes, and whether it replicates cannot be seen by {login!r}",
            f"GRANT {right} ON *.* TO {login!r}. If all rows of its tables are written there, {says}, too",
            certain=False,
        )
    return Doubt(
        f"does not show whether it is the writer: it answers {statement} with an error, as some proxies do",
        f"Write the writer itself as host. If all rows of its tables are written there, {says}",
        certain=False,
    )
