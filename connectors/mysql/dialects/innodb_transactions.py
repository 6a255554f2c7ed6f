"""InnoDB's list of open transactions, as fresh as whoever asks needs it.

`information_schema.innodb_trx` is a copy, renewed by a reader only where none has read it for 0.1 seconds ("Persistence
and Consistency of InnoDB Transaction and Locking Information" in MySQL's manual). Where sessions ask one after another
it grows as old as they like, and a transaction that began meanwhile is not in it. So each look is made in a transaction
of its own, which only reads, and takes no list in which this does not run the very statement that asks. Who is given
an old list asks again after a pause that chance makes longer each time: readers in step would never leave the gap that
each of them waits for.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from connectors.errors import ServiceUnavailable
from connectors.mysql.sessions.session import Session

_RENEWED_AFTER_SECONDS = 0.12
_LONGEST_PAUSE_SECONDS = 4.0
_PATIENCE_SECONDS = 30.0


@dataclass
class _Looks:
    """Those of this process at one server: in turn, or they would keep the list from being renewed. `at` is the time
    of the server before the last, `oldest` what it found."""

    lock: Lock = field(default_factory=Lock)
    at: datetime | None = None
    oldest: datetime | None = None


_looks: defaultdict[tuple[str, int | None], _Looks] = defaultdict(_Looks)


def oldest_transaction(session: Session) -> datetime | None:
    """When the oldest transaction began that was open when this was asked and may write (naive UTC); the session's own
    is ended.

    Raises:
        AccessDenied: the right PROCESS is missing.
        ServiceUnavailable: the list is not renewed, as others read it without a pause.
    """
    asked_at = session.value("SELECT UTC_TIMESTAMP(6)")
    looks = _looks[session.connection.host or "", session.connection.port]
    with looks.lock:
        # What another look found that began later serves as well.
        if looks.at is None or looks.at < asked_at:
            at = session.value("SELECT UTC_TIMESTAMP(6)")
            looks.oldest, looks.at = _look(session), at
        return looks.oldest


def _look(session: Session) -> datetime | None:
    until = time.monotonic() + _PATIENCE_SECONDS
    pause = _RENEWED_AFTER_SECONDS
    # trx_started is a DATETIME in the server's own zone, so it is turned into an instant there.
    session.rows("SET time_zone = 'SYSTEM'")
    try:
        # At a lower level a snapshot is none, and nothing begins.
        session.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        while True:
            mark = uuid.uuid4().hex
            oldest, own = session.rows(
                f"SELECT UNIX_TIMESTAMP(MIN(IF(trx_is_read_only = 0 AND trx_mysql_thread_id <> CONNECTION_ID(),"
                f" trx_started, NULL))), SUM(trx_mysql_thread_id = CONNECTION_ID() AND trx_query LIKE '%{mark}%')"
                f" FROM information_schema.innodb_trx"
            )[0]
            if own:
                return None if oldest is None else datetime.fromtimestamp(float(oldest), UTC).replace(tzinfo=None)
            if time.monotonic() > until:
                raise ServiceUnavailable(
                    f"{session.connection.id}: information_schema.innodb_trx is older than {_PATIENCE_SECONDS:.0f} s",
                    fix="Somebody reads it more than ten times a second, which keeps InnoDB from renewing it: find "
                    "them in the process list, then run again",
                )
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            time.sleep(random.uniform(_RENEWED_AFTER_SECONDS, pause))
    finally:
        session.rows("ROLLBACK")
        session.rows("SET time_zone = '+00:00'")
