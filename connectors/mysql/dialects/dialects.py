"""Dialects of MySQL-speaking servers: how each handles open transactions, snapshots and its product name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from connectors.errors import AccessDenied, UnsupportedType, UsageError
from connectors.mysql.dialects import innodb_transactions, tidb_transactions
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.replica import position_guard_sql, wait_for, writer_position
from connectors.mysql.sessions.session import Session
from connectors.mysql.slicing.key_index import KeyIndex
from connectors.mysql.slicing.key_ranges import Key
from connectors.mysql.sql import literal, quote_identifier

SNAPSHOT_KEY = "tidb_snapshot"
RowExplainer = Callable[[str], float | None]

_MARIADB_ROWS, _MYSQL_ROWS = 8, 9
_TIDB_SCAN = re.compile(r"(Range|Full)Scan|Point_Get")
_STALE_SHARE = 0.1
"""If a larger share of the rows changed since ANALYZE, TiDB's histograms are not used."""
_STATISTICS_WAIT_MS = 10_000
"""How long TiDB may take to load a table's histograms. By default it waits 0.1 s and then guesses."""


@dataclass(frozen=True)
class OpenTransactions:
    """Start of the oldest transaction that may still write (naive UTC), or a warning why it cannot be seen."""

    oldest: datetime | None = None
    warning: str | None = None


class Dialect(Protocol):
    """One kind of server.

    `estimate_resolution` is the smallest part of a table for which the optimizer's estimates are good. `transaction`
    holds the statements that let a session read everything at one snapshot; they are for sessions that cannot be pinned
    to the snapshot of their plan.
    """

    estimate_resolution: float
    transaction: tuple[str, ...]

    def check(self, session: Session) -> None:
        """Raises if the server is of the other kind."""

    def product(self, session: Session) -> str:
        """Returns name and version, for people."""

    def open_transactions(self, session: Session) -> OpenTransactions:
        """Asks for the transactions of all other sessions."""

    def transaction_clock(self, session: Session) -> datetime:
        """Returns the time of the clock by which transactions begin (naive UTC)."""

    def freeze(self, session: Session, has_reader: bool) -> dict[str, JsonValue] | None:
        """Pins the session to the present if the server can.

        Returns what pins other sessions to the same moment, or what proves to sessions on a reader that the reader has
        everything that is here now.
        """

    def session_variables(self, snapshot: Mapping[str, JsonValue] | None) -> dict[str, str]:
        """Returns the variables, as SQL text, that pin a session to a snapshot."""

    def pin(self, session: Session, snapshot: Mapping[str, JsonValue] | None) -> None:
        """Pins a session to a snapshot."""

    def check_ids_are_ordered(self, session: Session, table: TableName, column: str) -> None:
        """Refuses a number as cursor if the server does not hand numbers out in order."""

    def region_boundaries(self, index: KeyIndex) -> list[Key]:
        """Returns keys of the table in order, about equally far apart, found without a scan; empty if the server knows
        no such keys."""

    def row_estimator(self, session: Session, table: TableName) -> RowExplainer:
        """Returns a function that estimates the rows of a SELECT from a table by the optimizer; None for a guess."""


class InnoDB:
    """Aurora MySQL, MySQL and MariaDB: each transaction has its own read view, and a reader has at least the
    writer's."""

    estimate_resolution = 0.0
    transaction: tuple[str, ...] = (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def check(self, session: Session) -> None:
        if "TiDB" in session.server_version:
            raise UsageError(f"{session.connection.id} is TiDB", fix="Write source: {type: tidb, …}")

    def product(self, session: Session) -> str:
        version = session.server_version
        if "MariaDB" in version:
            return f"MariaDB {version.partition('-')[0]}"
        aurora = session.rows("SHOW VARIABLES LIKE 'aurora_version'")
        return f"Aurora MySQL {aurora[0][1]} (MySQL {version})" if aurora else f"MySQL {version}"

    def open_transactions(self, session: Session) -> OpenTransactions:
        try:
            return OpenTransactions(innodb_transactions.oldest_transaction(session))
        except AccessDenied:
            return _unseen(session)

    def transaction_clock(self, session: Session) -> datetime:
        now: datetime = session.value("SELECT UTC_TIMESTAMP(6)")
        return now

    def freeze(self, session: Session, has_reader: bool) -> dict[str, JsonValue] | None:
        return writer_position(session) if has_reader else None

    def session_variables(self, snapshot: Mapping[str, JsonValue] | None) -> dict[str, str]:
        return position_guard_sql(snapshot)

    def pin(self, session: Session, snapshot: Mapping[str, JsonValue] | None) -> None:
        wait_for(session, snapshot)

    def check_ids_are_ordered(self, session: Session, table: TableName, column: str) -> None:
        return None

    def region_boundaries(self, index: KeyIndex) -> list[Key]:
        return []

    def row_estimator(self, session: Session, table: TableName) -> RowExplainer:
        def rows(select: str) -> float | None:
            # MySQL has a column `filtered` between `rows` and the last one; MariaDB does not.
            explained = session.rows(f"EXPLAIN FORMAT=TRADITIONAL {select}")[0]
            estimate = explained[_MYSQL_ROWS] if len(explained) > _MYSQL_ROWS + 1 else explained[_MARIADB_ROWS]
            return 0.0 if estimate is None else float(estimate)

        return rows


class TiDB:
    """TiDB: any session can read as of a timestamp of its oracle (manual, Read Historical Data)."""

    # Half as fine as the histogram's 256 buckets: within a bucket TiDB guesses.
    estimate_resolution = 1 / 128
    transaction: tuple[str, ...] = ()

    def check(self, session: Session) -> None:
        if "TiDB" not in session.server_version:
            raise UsageError(
                f"{session.connection.id} is not TiDB but {session.server_version}",
                fix="Write source: {type: aurora, …}",
            )

    def product(self, session: Session) -> str:
        match = re.search(r"TiDB-(v\d+(?:\.\d+)*)", session.server_version)
        return f"TiDB {match[1] if match else session.server_version}"

    def open_transactions(self, session: Session) -> OpenTransactions:
        # Without PROCESS the table silently lists the login's own transactions only.
        if not session.value(
            "SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type IN ('PROCESS', 'SUPER')"
            " AND grantee = CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''',"
            " SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')"
        ):
            return _unseen(session)
        return OpenTransactions(tidb_transactions.oldest_transaction(session))

    def transaction_clock(self, session: Session) -> datetime:
        # The clock of PD: the clock of a single server may differ (manual, TSO).
        now: datetime = session.value("SELECT TIDB_PARSE_TSO(%s)", [_timestamp(session)])
        return now

    def freeze(self, session: Session, has_reader: bool) -> dict[str, JsonValue]:
        timestamp = _timestamp(session)
        snapshot: dict[str, JsonValue] = {SNAPSHOT_KEY: timestamp}
        self.pin(session, snapshot)
        return snapshot

    def session_variables(self, snapshot: Mapping[str, JsonValue] | None) -> dict[str, str]:
        timestamp = str((snapshot or {}).get(SNAPSHOT_KEY, ""))
        return {SNAPSHOT_KEY: f"'{literal('number', timestamp)}'"}

    def pin(self, session: Session, snapshot: Mapping[str, JsonValue] | None) -> None:
        session.rows("SET tidb_snapshot = %s", [str((snapshot or {}).get(SNAPSHOT_KEY, ""))])

    def check_ids_are_ordered(self, session: Session, table: TableName, column: str) -> None:
        # Each server of a cluster hands out ids of a range of its own (manual, AUTO_INCREMENT and
        # AUTO_RANDOM), unless AUTO_ID_CACHE 1 makes one of them hand out all.
        table_definition = str(session.rows(f"SHOW CREATE TABLE {table.quoted}")[0][1])
        definition = next(
            (line for line in table_definition.splitlines() if line.strip().startswith(quote_identifier(column))), ""
        )
        scattered = "AUTO_INCREMENT" in definition and "AUTO_ID_CACHE=1" not in table_definition.replace(" ", "")
        if scattered or "AUTO_RANDOM" in definition:
            raise UnsupportedType(
                f"cursor {column!r} of {table} is an id that TiDB hands out in no order: a lower one may come after a "
                "higher one",
                fix="Take a DATETIME or TIMESTAMP column as cursor",
                key=("cursor",),
            )

    def region_boundaries(self, index: KeyIndex) -> list[Key]:
        # One row of each region; TiDB splits a region when it grows over a size (manual, TABLESAMPLE).
        return index.sample("TABLESAMPLE REGIONS()")

    def row_estimator(self, session: Session, table: TableName) -> RowExplainer:
        # Rows changed since the table was analyzed, and all rows (manual, SHOW STATS_META). A login without SELECT on
        # mysql.stats_meta may not ask; statistics that are not known to be fresh are not trusted.
        try:
            health = session.rows(
                "SHOW STATS_META WHERE db_name = %s AND table_name = %s", (table.database, table.name)
            )
        except AccessDenied:
            health = []
        changed, known = (sum(int(part[column]) for part in health) for column in (4, 5))
        stale = not known or changed > known * _STALE_SHARE
        session.rows(f"SET tidb_stats_load_sync_wait = {_STATISTICS_WAIT_MS:d}")

        def rows(select: str) -> float | None:
            if stale:
                return None
            scans = [step for step in session.rows(f"EXPLAIN FORMAT='row' {select}") if _TIDB_SCAN.search(step[0])]
            # "stats:pseudo" if there are no statistics, "stats:partial" if they are not in memory (manual, EXPLAIN).
            guessed = any("stats:" in step[4] for step in scans)
            return None if guessed else sum(float(step[1]) for step in scans)

        return rows


def _unseen(session: Session) -> OpenTransactions:
    login = session.connection.login
    return OpenTransactions(
        warning=f"open transactions cannot be seen: a row written by one that lasts longer than lag_seconds would be "
        f"missed. GRANT PROCESS ON *.* TO {login!r}"
    )


def _timestamp(session: Session) -> str:
    """Takes a timestamp of TiDB now."""
    session.rows("BEGIN")
    timestamp = str(session.value("SELECT @@tidb_current_ts"))
    session.rows("ROLLBACK")
    return timestamp
