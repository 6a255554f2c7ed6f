"""The window of a relational read: from the end of the last one to the point behind which nothing can change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Literal, Protocol

from pydantic import JsonValue

from connectors.base import Window
from connectors.errors import AccessDenied, UsageError, WindowUnfit
from connectors.mysql.dialects.dialects import Dialect, OpenTransactions
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sessions.writers import doubt_about
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursors import UTC_ZONE, Cursor, cursor_literal

POSITION_KEY = "cursor"
ZONE_KEY = "time_zone"
"""The time zone of a position in local time; without one it is in UTC."""
NullCursors = Literal["refuse", "quarantine", "include"]
"""What happens to rows without a cursor value (NULL or a zero date), which no window holds."""
FUTURE_ROWS_COUNTED = 1000
_LOOK_EVERY_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 60


@dataclass(frozen=True)
class PlannedWindow:
    """A window, where its read begins if it looks back, and the server's snapshot at which it was made.

    `overlaps_published`: it holds rows that earlier batches may hold. `waiting` says why a scheduled read of numbers
    reads nothing yet.
    """

    window: Window
    overlap_start: str | None
    snapshot: dict[str, JsonValue] | None
    overlaps_published: bool = False
    warnings: tuple[str, ...] = ()
    waiting: str | None = None


class Clock:
    """The server's clock, and the transactions that were open after it was read. With `once`, the first observation is
    cached and reused; ending a window slightly early is always safe."""

    def __init__(self, once: bool) -> None:
        self._once = once
        self._lock = Lock()
        self._seen: tuple[datetime, OpenTransactions] | None = None

    def look(self, session: Session, dialect: Dialect) -> tuple[datetime, OpenTransactions]:
        """Returns the time in naive UTC, and the transactions that were open after it."""
        if not self._once:
            return self._look(session, dialect)
        with self._lock:
            self._seen = self._seen or self._look(session, dialect)
            return self._seen

    def _look(self, session: Session, dialect: Dialect) -> tuple[datetime, OpenTransactions]:
        # The order matters. A row whose transaction neither committed before the look at open transactions nor is among
        # those began after the clock was read, so its cursor lies behind the window's end.
        now = session.value("SELECT UTC_TIMESTAMP(6)")
        return now, dialect.open_transactions(session)


class WindowOptions(Protocol):
    """The keys of a dataset that define its windows."""

    @property
    def lag_seconds(self) -> int: ...

    @property
    def lookback_seconds(self) -> int: ...

    @property
    def lookback(self) -> int: ...


def plan_window(
    session: Session,
    dialect: Dialect,
    table: TableName,
    cursor: Cursor,
    options: WindowOptions,
    position: Mapping[str, JsonValue] | None,
    requested: Window | None,
    has_reader: bool,
    clock: Clock,
) -> PlannedWindow:
    """Returns the window of a run: as `requested`, otherwise from the position to what is settled.

    The session is the writer's; if the server has snapshots, it stays pinned to the snapshot.

    Raises:
        UsageError: a requested window is invalid, or the position is that of another cursor.
        WindowUnfit: a requested window without an end begins where nothing of this table is settled yet.
        AccessDenied: see `settled_number`.
        ConfigurationError, ServiceUnavailable: the server is not the writer, see `Doubt.for_window`.
    """
    warnings: list[str | None] = []
    if cursor.kind == "number":
        dialect.check_ids_are_ordered(session, table, cursor.column)
        end, delay_warning = settled_number(session, dialect, table, cursor, options.lag_seconds)
        warnings.append(delay_warning if requested is None else None)
        limit = delay_warning or f"the highest {cursor.column} of {table} plus one"
        warnings.append(unproved_writer(session))
        snapshot = dialect.freeze(session, has_reader)
    else:
        now, transactions = clock.look(session, dialect)
        # This comes after the look, to find out a server that was demoted meanwhile.
        warnings.append(unproved_writer(session))
        snapshot = dialect.freeze(session, has_reader)
        end = cursor.edge(window_bound(now, options.lag_seconds, transactions.oldest))
        warnings.append(transactions.warning)
        delay_warning = delay_warning_of(now, options.lag_seconds, transactions.oldest)
        limit = delay_warning or f"the server's clock less lag_seconds ({options.lag_seconds})"
        if requested is None:
            warnings.append(delay_warning)
            warnings.append(rows_in_the_future(session, table, cursor, now))
    if requested is not None and requested.end is None and cursor.kind == "number" and delay_warning:
        raise WindowUnfit(
            f"a window from {requested.start} has no end yet: {delay_warning}",
            fix="Give an end, or run it when that transaction has ended",
        )
    if requested is not None:
        window, overlap_start, overlaps_published = requested_window(cursor, requested, end, limit), None, False
        if cursor.zone:
            window, shortened = without_repeated_hour(cursor, window, now)
            warnings.append(shortened)
    else:
        moved = moved_to_zone(cursor, position)
        warnings.append(moved)
        window = scheduled_window(cursor, position if moved is None else None, end)
        overlap_start = lookback_start(cursor, window.start, options)
        overlaps_published = moved is not None or overlap_start is not None
    waiting = delay_warning if cursor.kind == "number" and requested is None else None
    return PlannedWindow(
        window, overlap_start, snapshot, overlaps_published, tuple(text for text in warnings if text), waiting
    )


def moved_to_zone(cursor: Cursor, position: Mapping[str, JsonValue] | None) -> str | None:
    """Returns a warning if the published position is of another time zone than the cursor's. Such a position does not
    show which rows were read, so all rows are read once more."""
    before, now = (position or {}).get(ZONE_KEY) or UTC_ZONE, cursor.zone or UTC_ZONE
    if not position or before == now:
        return None
    return (
        f"cursor_time_zone is {now} and was {before} when the position was published: this run reads the whole table "
        "once and publishes what the lake lacks"
    )


def without_repeated_hour(cursor: Cursor, window: Window, now: datetime) -> tuple[Window, str | None]:
    """Ends a requested window before the times that clocks will show again, and returns a warning. This applies while
    clocks show an hour for the first or second time: a later change of a row read there could carry a lower time, and
    would count as the older one.

    Raises:
        WindowUnfit: no part of the window is before those times.
    """
    limit, shown = cursor.edge(now), cursor.highest(now)
    if limit == shown or window.end is None or not cursor.is_before(limit, window.end):
        return window, None
    again = f"clocks in {cursor.zone} go back: times from {limit} on are shown twice until {shown}"
    if window.start is not None and not cursor.is_before(window.start, limit):
        raise WindowUnfit(again, fix="Run this window once they are past that time")
    return Window(start=window.start, end=limit), f"{again}. The window ends at {limit}"


def unproved_writer(session: Session) -> str | None:
    """Returns a warning if nothing shows whether the session's server is the writer.

    Raises:
        ConfigurationError, ServiceUnavailable: it is not the writer, see `Doubt.for_window`.
    """
    doubt = doubt_about(session)
    return doubt.for_window(session.connection) if doubt else None


def scheduled_window(cursor: Cursor, position: Mapping[str, JsonValue] | None, end: str) -> Window:
    """Returns the window from the position (without one, from the beginning) to `end`, never backwards.

    Raises:
        UsageError: the position is not one of this cursor's.
    """
    start = (position or {}).get(POSITION_KEY)
    if start is None:
        return Window(start=None, end=end)
    try:
        assert isinstance(start, str)
        literal(cursor.kind, start)
    except (AssertionError, UsageError):
        raise UsageError(
            f"the published position {POSITION_KEY}={start!r} is not a value of cursor {cursor.column}",
            fix="Another cursor was named since: load the table under a new dataset name",
        ) from None
    return Window(start=start, end=cursor.later(start, end))


def position_at(cursor: Cursor, window: Window) -> dict[str, JsonValue]:
    """Returns the position that a scheduled window leaves, in the cursor's own values."""
    if cursor.zone:
        return {POSITION_KEY: window.end, ZONE_KEY: cursor.zone}
    return {POSITION_KEY: window.end}


def requested_window(cursor: Cursor, window: Window, end: str, limit: str) -> Window:
    """Returns a requested window in cursor values. An open end becomes `end`; `limit` explains that end in words.

    Raises:
        UsageError: a bound is not of the cursor's kind, or the start is not before the requested end.
        WindowUnfit: the end is open, and the start is not before `end`; other tables may have later ends.
    """
    start = cursor.asked_for("start", window.start) if window.start is not None else None
    last = cursor.asked_for("end", window.end) if window.end is not None else end
    if start is not None and not cursor.is_before(start, last):
        if window.end is None:
            raise WindowUnfit(
                f"window start {window.start} is not before {end}, where its window ends: {limit}",
                fix="Give an earlier start, or wait until the end has passed it",
            )
        raise UsageError(
            f"window start {window.start} is not before its end {window.end}",
            fix="Give a start that lies before the end; the end itself is not included",
        )
    return Window(start=start, end=last)


def lookback_start(cursor: Cursor, start: str | None, options: WindowOptions) -> str | None:
    """Returns where a read begins that looks back from a window's start; None if it does not look back."""
    if start is None:
        return None
    if cursor.kind == "number":
        return cursor.lower(start, options.lookback) if options.lookback else None
    return cursor.before(start, options.lookback_seconds) if options.lookback_seconds else None


def window_bound(now: datetime, lag_seconds: int, oldest_transaction: datetime | None) -> datetime:
    """Returns how far a scheduled window may reach: no row before that can still appear.

    The lag is subtracted from the start of the oldest open transaction as well: an application may stamp a row before
    the server sees the transaction that writes it.
    """
    # The first row of that transaction may carry the whole second in which it began.
    begun = now if oldest_transaction is None else min(now, oldest_transaction.replace(microsecond=0))
    return begun - timedelta(seconds=lag_seconds)


def delay_warning_of(now: datetime, lag_seconds: int, oldest: datetime | None) -> str | None:
    """Returns a warning if a transaction has been open for longer than the lag; shorter ones are usual."""
    if oldest is None or (now - oldest).total_seconds() <= lag_seconds:
        return None
    end = cursor_literal(window_bound(now, lag_seconds, oldest))
    since = cursor_literal(oldest.replace(microsecond=0))
    return (
        f"the window ends at {end} UTC, lag_seconds ({lag_seconds}) before the start of the oldest open transaction: "
        f"it is open since {since} UTC, {now - oldest} by now"
    )


def settled_number(
    session: Session, dialect: Dialect, table: TableName, cursor: Cursor, patience_seconds: int
) -> tuple[str, str | None]:
    """Returns the end of a window over numbers, and a warning if it is held back.

    A number is taken before its row is committed, so a lower number may still appear after the highest is visible. All
    numbers up to the highest are settled once every transaction has ended that was open when the highest was read. This
    waits for those transactions, for up to `patience_seconds`. A window that is held back ends below every number, as
    rows of any number may be committed meanwhile.

    Raises:
        AccessDenied: open transactions cannot be seen, so it is unknown which numbers are settled.
    """
    quoted = quote_identifier(cursor.column)
    highest = session.value(f"SELECT MAX({quoted}) FROM {table.quoted}")
    if highest is None:
        return str(cursor.lowest), None
    # A separate statement after the other: the other may have waited for a lock, and so read later than its own clock.
    read_at = dialect.transaction_clock(session)
    deadline = time.monotonic() + min(patience_seconds, _LONGEST_WAIT_SECONDS)
    while True:
        transactions = dialect.open_transactions(session)
        if transactions.warning:
            raise AccessDenied(
                f"cursor {cursor.column} of {table} is a number, and {transactions.warning}",
                fix="Grant the right, or take a DATETIME or TIMESTAMP column as cursor",
                key=("cursor",),
            )
        if transactions.oldest is None or transactions.oldest > read_at:
            return str(int(highest) + 1), None
        time.sleep(_LOOK_EVERY_SECONDS)
        if time.monotonic() > deadline:
            since = cursor_literal(transactions.oldest)
            open_since = f"nothing is read: a transaction is open since {since} UTC"
            return str(cursor.lowest), f"{open_since}, and may still commit a lower {cursor.column}"


def rows_in_the_future(session: Session, table: TableName, cursor: Cursor, now: datetime) -> str | None:
    """Returns a warning if rows carry a time in the future: they are read once that time has passed."""
    if cursor.kind == "number":
        return None
    tomorrow = now + timedelta(days=1 if cursor.kind == "date" else 0)
    quoted = quote_identifier(cursor.column)
    ahead = f"{quoted} > {literal(cursor.kind, cursor.highest(tomorrow))}"
    some = f"SELECT 1 AS one FROM {table.quoted} WHERE {ahead} LIMIT {FUTURE_ROWS_COUNTED + 1:d}"
    count = session.value(f"SELECT COUNT(*) FROM ({some}) AS ahead")
    if not count:
        return None
    many = f"over {FUTURE_ROWS_COUNTED:,}" if count > FUTURE_ROWS_COUNTED else f"{count:,}"
    rows = "row lies" if count == 1 else "rows lie"
    local = cursor.kind == "datetime" and not cursor.instant and not cursor.zone
    zone = ". If it holds a local time ahead of UTC, write cursor_time_zone with its IANA name" if local else ""
    return f"{many} {rows} in the future by {cursor.column} of {table}: read once that time has passed{zone}"
