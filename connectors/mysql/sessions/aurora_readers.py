"""Proof, from the writer of an Aurora cluster, that a reader has caught up.

Readers share the writer's storage and have no GTIDs of it. `information_schema.replica_host_status` lists every
instance with its lag and the time at which the lag was taken. On a reader that has fallen behind this table may itself
be outdated, and AWS recommends asking the writer (Aurora User Guide, "Aurora MySQL-specific information_schema
tables"). A record of time T with a lag of L proves that the reader had, at T, all that the writer had at T - L. A
position before T - L is reached for good; a record older than the position proves nothing.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from connectors.connection import Connection
from connectors.mysql.sessions.session import Session, open_session

WRITER_SESSION = "MASTER_SESSION_ID"
_MARGIN = timedelta(seconds=2)
"""Clocks of a cluster differ by milliseconds, and a lag is about a second old when the writer records it."""
_ASK_EVERY_SECONDS = 0.5


def lacks(reader: Session, writer: Connection, writer_time: datetime, wait_seconds: float) -> str | None:
    """Returns why it is not proved that the session's reader has all that the writer had at `writer_time` (naive UTC);
    None if it is. Waits for the proof for at most `wait_seconds`.

    Raises:
        ServiceUnavailable, AccessDenied: the writer does not answer, or refuses this login.
    """
    instance = str(reader.value("SELECT @@aurora_server_id"))
    until = time.monotonic() + wait_seconds
    with open_session(writer) as session:
        while True:
            reason = unproved(session, instance, writer_time)
            if reason is None or time.monotonic() >= until:
                return reason
            time.sleep(_ASK_EVERY_SECONDS)


def unproved(writer: Session, instance: str, writer_time: datetime) -> str | None:
    """Returns why the writer's records do not prove that the instance has reached `writer_time` (naive UTC); None if
    they do."""
    [(asked, now)] = writer.rows("SELECT @@aurora_server_id, UTC_TIMESTAMP(6)")
    records = {
        str(server): (str(session), updated, lag)
        for server, session, updated, lag in writer.rows(
            "SELECT server_id, session_id, last_update_timestamp, replica_lag_in_milliseconds"
            " FROM information_schema.replica_host_status"
        )
    }
    if records.get(asked, ("", None, None))[0] != WRITER_SESSION:
        return f"instance {asked} is not the writer and knows no other's lag"
    if instance == asked:
        # The reader endpoint of a cluster without readers leads to the writer (AWS, Aurora endpoints).
        return None
    _, updated, lag = records.get(instance, ("", None, None))
    if updated is None or lag is None:
        return f"the writer has no record of instance {instance}"
    if updated > now + _MARGIN:
        return f"the writer's record of instance {instance} is of {updated}, ahead of its clock ({now} UTC)"
    if updated - timedelta(milliseconds=max(0.0, float(lag))) - _MARGIN <= writer_time:
        return f"the writer's record of instance {instance} is of {updated} UTC, its lag {float(lag):.0f} ms"
    return None
