"""TiDB's open transactions: of all servers or an error, since a server that does not answer may hold one.

`information_schema.cluster_tidb_trx` asks every server of the cluster. If it cannot reach a server, it returns no rows
of that server and a warning ("TiDB server timeout, address is …", from TiDB's `handleTiDBSendReqErr`; manual, Cluster
Tables). `tidb_servers_info` lists the servers of the cluster. Each of them has a row in `cluster_memory_usage` (manual,
MEMORY_USAGE) while it answers.
"""

from __future__ import annotations

from datetime import datetime

from connectors.errors import AccessDenied, ObjectNotFound, ServiceUnavailable
from connectors.mysql.sessions.session import Session

_HOLDS = "open transactions there cannot be seen, and their rows would fall behind the window"


def oldest_transaction(session: Session) -> datetime | None:
    """Returns when the oldest transaction of other sessions began, on any server of the cluster (naive UTC).

    Raises:
        ServiceUnavailable: a server of the cluster did not answer; the message names it.
    """
    oldest: datetime | None = session.value(
        "SELECT TIDB_PARSE_TSO(MIN(id)) FROM information_schema.cluster_tidb_trx WHERE session_id <> CONNECTION_ID()"
    )
    # Ask before any other statement runs: SHOW WARNINGS lists those of the last one.
    said = "; ".join(sorted({str(message) for level, _, message in session.rows("SHOW WARNINGS") if level != "Note"}))
    if said:
        raise _unanswered(session, f"not every TiDB server answered for its open transactions ({said})")
    silent = _listed(session) - _answering(session)
    if silent:
        raise _unanswered(session, f"TiDB server {', '.join(sorted(silent))} did not answer")
    return oldest


def _listed(session: Session) -> set[str]:
    """Returns the status addresses of the cluster's servers; empty if the login may not see them."""
    try:
        addresses = session.rows("SELECT ip, status_port FROM information_schema.tidb_servers_info")
    except (AccessDenied, ObjectNotFound):
        return set()
    # TiDB's security enhanced mode shows NULL instead of addresses.
    return {_address(str(host), int(port)) for host, port in addresses if host}


def _answering(session: Session) -> set[str]:
    """Returns the status addresses of the servers that answer. A TiDB without the table (before 6.3) has only its
    warnings to go by."""
    try:
        instances = session.rows("SELECT instance FROM information_schema.cluster_memory_usage")
    except (AccessDenied, ObjectNotFound):
        return _listed(session)
    return {str(instance) for (instance,) in instances}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unanswered(session: Session, problem: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{session.connection.id} ({session.connection.address}): {problem}: {_HOLDS}",
        fix="Start that server again and let the others reach its status port, or take it out of the cluster, then run "
        "again. The list of the cluster forgets a server that crashed after some minutes",
    )
