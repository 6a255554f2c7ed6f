"""InnoDB's list of open transactions, never older than the question.

`information_schema.innodb_trx` is a copy. A reader renews it only if nobody has read it for 0.1 seconds ("Persistence
and Consistency of InnoDB Transaction and Locking Information" in MySQL's manual). If sessions ask one after another,
the copy may grow arbitrarily old, and a transaction that began meanwhile is not in it.

So each look runs in its own read-only transaction, and accepts a list only if the list shows this transaction running
the very statement that asks. A session that gets an older list asks again after a random pause, which grows each time.
Sessions that ask in step would never leave the gap that each of them waits for.
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
    """The looks of this process at one server. They take turns, or they would keep the list from being renewed. `at` is
    the server's time just before the last look, `oldest` what that look found."""

    lock: Lock = field(default_factory=Lock)
    at: datetime | None = None
    oldest: datetime | None = None


_looks: defaultdict[tuple[str, int | None], _Looks] = defaultdict(_Looks)


def oldest_transaction(session: Session) -> datetime | None:
    """Returns when the oldest transaction began that was open at the time of the call and may write (naive UTC).

    It ends the session's own transaction.

    Raises:
        AccessDenied: the right PROCESS is missing.
        ServiceUnavailable: others read the list without a pause, so it is not renewed.
    """
    asked_at = session.value("SELECT UTC_TIMESTAMP(6)")
    looks = _looks[session.connection.host or "", session.connection.port]
    with looks.lock:
        # A look that another session began after this question serves as well.
        if looks.at is None or looks.at < asked_at:
            at = session.value("SELECT UTC_TIMESTAMP(6)")
            looks.oldest, looks.at = _look(session), at
        return looks.oldest


def _look(session: Session) -> datetime | None:
    until = time.monotonic() + _PATIENCE_SECONDS
    pause = _RENEWED_AFTER_SECONDS
    # trx_started is a DATETIME in the server's own time zone, so the server converts it to an instant.
    session.rows("SET time_zone = 'SYSTEM'")
    try:
        # Below REPEATABLE READ the server ignores WITH CONSISTENT SNAPSHOT and starts no transaction.
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
                    fix="A session reads it more than ten times a second, which keeps InnoDB from renewing it: find "
                    "it in the process list, then run again",
                )
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            time.sleep(random.uniform(_RENEWED_AFTER_SECONDS, pause))
    finally:
        session.rows("ROLLBACK")
        session.rows("SET time_zone = '+00:00'")
