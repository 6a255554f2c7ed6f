"""The window of a relational read: half-open on the cursor column, in UTC, to the microsecond."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from connectors.base import Description, Window
from connectors.errors import CheckFailed, ObjectNotFound, UnsupportedType, UsageError
from connectors.mysql.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.tables import TableName

CURSOR_TYPES = ("datetime", "timestamp")
POSITION_KEY = "cursor"


def cursor_literal(moment: datetime) -> str:
    """A naive UTC time as a cursor value: `2026-11-23 07:00:00.000000`."""
    return moment.isoformat(sep=" ", timespec="microseconds")


def window_predicate(cursor: str, window: Window) -> str:
    """`window` as an SQL condition; `TRUE` where it bounds nothing."""
    quoted = quote_identifier(cursor)
    bounds = [f"{quoted} >= {literal('datetime', window.start)}"] if window.start is not None else []
    if window.end is not None:
        bounds.append(f"{quoted} < {literal('datetime', window.end)}")
    return " AND ".join(bounds) or "TRUE"


def scheduled_window(position: Mapping[str, JsonValue] | None, bound: datetime) -> Window:
    """From the position (None or without a cursor: from the beginning) to `bound`, never backwards.

    Raises:
        UsageError: the position is not one of this source's.
    """
    start = (position or {}).get(POSITION_KEY)
    if start is None:
        return Window(start=None, end=cursor_literal(bound))
    if not isinstance(start, str):
        raise UsageError(f"position {POSITION_KEY}={start!r} is not a time")
    literal("datetime", start)
    return Window(start=start, end=max(start, cursor_literal(bound)))


def lookback_start(window: Window, lookback_seconds: int) -> str | None:
    """Where the read begins that looks back from the window's start; None where it looks back nowhere."""
    if not lookback_seconds or window.start is None:
        return None
    return cursor_literal(datetime.fromisoformat(window.start) - timedelta(seconds=lookback_seconds))


def requested_window(window: Window, bound: datetime) -> Window:
    """An asked-for window (ISO 8601, UTC where no offset is given) in cursor values; an open end is `bound`.

    Raises:
        UsageError: a bound is not ISO 8601, or the start is not before the end.
    """
    start = _moment("start", window.start) if window.start is not None else None
    end = _moment("end", window.end) if window.end is not None else cursor_literal(bound)
    if start is not None and start >= end:
        raise UsageError(
            f"window start {window.start} is not before its end {window.end or end + ' (now, minus the lag)'}",
            fix="Give a start that lies before the end; the end itself is not included",
        )
    return Window(start=start, end=end)


def _moment(which: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        return cursor_literal(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
    except (ValueError, OverflowError):
        raise UsageError(
            f"window {which} {text!r} is not an ISO 8601 time", fix="Write it like 2026-11-23T07:00:00Z"
        ) from None


def window_bound(now: datetime, lag_seconds: int, oldest_transaction: datetime | None) -> datetime:
    """How far a scheduled window may reach: rows before it can no longer appear."""
    bound = now - timedelta(seconds=lag_seconds)
    # Its first row may carry the whole second the transaction began in.
    return bound if oldest_transaction is None else min(bound, oldest_transaction.replace(microsecond=0))


def check_cursor(description: Description, table: TableName, cursor: str) -> str | None:
    """Is the column there, and is it a time; a warning where no index leads to its rows.

    Raises:
        ObjectNotFound: no such column; those that would do are listed, indexed ones first.
        UnsupportedType: it is neither DATETIME nor TIMESTAMP.
    """
    columns = {column.name: column for column in description.columns}
    if cursor not in columns:
        raise ObjectNotFound(f"cursor {cursor!r} is not a column of {table}", fix=_would_do(description))
    word = columns[cursor].source_type.partition("(")[0].lower()
    if word not in CURSOR_TYPES:
        raise UnsupportedType(
            f"cursor {cursor!r} of {table} is {columns[cursor].source_type}; a cursor is DATETIME or TIMESTAMP",
            fix=_would_do(description),
        )
    if cursor in description.indexed:
        return None
    size = "an unknown number of" if description.estimated_rows is None else f"about {description.estimated_rows:,}"
    return (
        f"cursor {cursor!r} of {table} has no index: every run reads the whole table, {size} rows. CREATE INDEX on it"
    )


def refuse_null_cursors(session: Session, description: Description, table: TableName, cursor: str) -> None:
    """Rows without a cursor value lie in no window and would never be delivered.

    Raises:
        CheckFailed: there are such rows; says how many.
    """
    # On a NOT NULL column MySQL answers IS NULL with the zero dates, which do lie in a window.
    if not next(column.nullable for column in description.columns if column.name == cursor):
        return
    count = session.value(f"SELECT COUNT(*) FROM {table.quoted} WHERE {quote_identifier(cursor)} IS NULL")
    if count:
        raise CheckFailed(
            f"{count} row{'s' if count != 1 else ''} of {table} {'have' if count != 1 else 'has'} no {cursor}: "
            "no window would ever hold them",
            fix=f"Fill them in and declare {cursor} NOT NULL, take another cursor, or leave cursor out "
            "to read the whole table",
        )


def _would_do(description: Description) -> str:
    names = [
        column.name for column in description.columns if column.source_type.partition("(")[0].lower() in CURSOR_TYPES
    ]
    names.sort(key=lambda name: name not in description.indexed)
    indexed = [name for name in names if name in description.indexed]
    if not names:
        return "No column would do: leave cursor out to read the whole table each time"
    if len(indexed) == len(names):
        how_many = {1: "indexed", 2: "both indexed"}.get(len(names), "all indexed")
        return f"Columns that would do: {', '.join(names)} ({how_many})"
    return "Columns that would do: " + ", ".join(f"{name} (indexed)" if name in indexed else name for name in names)
