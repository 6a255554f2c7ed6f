"""TiDB's open transactions, of all its servers or of none: a server that does not answer may hold one.

`information_schema.cluster_tidb_trx` asks every server of the cluster. Of one that it cannot reach it has no rows and a
warning ("TiDB server timeout, address is …", as TiDB's `handleTiDBSendReqErr` says it; manual, Cluster Tables), and
`tidb_servers_info` names the servers there are, each of which has a row in `cluster_memory_usage` (manual,
MEMORY_USAGE) while it answers.
"""

from __future__ import annotations

from datetime import datetime

from connectors.errors import AccessDenied, ObjectNotFound, ServiceUnavailable
from connectors.mysql.sessions.session import Session

_HOLDS = "open transactions there cannot be seen, and their rows would fall behind the window"


def oldest_transaction(session: Session) -> datetime | None:
    """When the oldest transaction of other sessions began, on any server of the cluster (naive UTC).

    Raises:
        ServiceUnavailable: a server of the cluster did not answer; names it.
    """
    oldest: datetime | None = session.value(
        "SELECT TIDB_PARSE_TSO(MIN(id)) FROM information_schema.cluster_tidb_trx WHERE session_id <> CONNECTION_ID()"
    )
    # Before any other statement: these are the warnings of the last one.
    said = "; ".join(sorted({str(message) for level, _, message in session.rows("SHOW WARNINGS") if level != "Note"}))
    if said:
        raise _unanswered(session, f"not every TiDB server answered for its open transactions ({said})")
    silent = _listed(session) - _answering(session)
    if silent:
        raise _unanswered(session, f"TiDB server {', '.join(sorted(silent))} did not answer")
    return oldest


def _listed(session: Session) -> set[str]:
    """The servers of the cluster by their status address; none where the login may not see them."""
    try:
        found = session.rows("SELECT ip, status_port FROM information_schema.tidb_servers_info")
    except (AccessDenied, ObjectNotFound):
        return set()
    # In TiDB's security enhanced mode addresses are NULL.
    return {_address(str(host), int(port)) for host, port in found if host}


def _answering(session: Session) -> set[str]:
    """Those that answer for themselves; a TiDB without the table (before 6.3) is believed by its warnings alone."""
    try:
        found = session.rows("SELECT instance FROM information_schema.cluster_memory_usage")
    except (AccessDenied, ObjectNotFound):
        return _listed(session)
    return {str(instance) for (instance,) in found}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unanswered(session: Session, problem: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{session.connection.id} ({session.connection.address}): {problem}: {_HOLDS}",
        fix="Start that server again and let the others reach its status port, or take it out of the cluster, then run "
        "again. The list of the cluster forgets a server that crashed after some minutes",
    )
