"""Rows that appear behind the position: proof that no window reads them.

With each position a plan remembers the newest rows below it: how many there are, and the sum of their cursor values.
Rows below the position are settled, so by the next plan they can only have become fewer, or have moved past the
position. More of them, or a higher sum, means that rows came behind it: a number was taken long before its commit, a
value far ahead carried the position past all later ones, or a clock runs in a time zone behind UTC.

Of days the last two are counted: all rows of a day share its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from pydantic import JsonValue

from connectors.errors import UsageError
from connectors.mysql.cursors import Cursor, cursor_literal
from connectors.mysql.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.tables import TableName

WATCHED_KEY = "watched"
WATCHED_ROWS = 1000
WATCHED_DAY_ROWS = 1_000_000
"""Of more rows of two days nothing is remembered: counting them would cost more than a batch does."""
SCANNED_ROWS = 100_000
"""A table of about so many rows is watched even if no index leads to its newest ones."""


def watch(session: Session, table: TableName, cursor: Cursor, below: str) -> dict[str, JsonValue] | None:
    """What to remember of the newest rows below an edge; None where they are too many.

    Args:
        below: where the next read begins.

    Costs one range of the cursor's index, `WATCHED_ROWS` long; of days, all rows of the last two.
    """
    if cursor.kind == "date":
        last = _last_day(session, table, cursor, below)
        if last is None:
            return {"after": None, "below": below, "rows": 0, "sum": 0}
        after = (last - timedelta(days=1)).isoformat()
        rows = _count(session, table, cursor, after, below)
        return None if rows > WATCHED_DAY_ROWS else {"after": after, "below": below, "rows": rows, "sum": None}
    values, complete = _newest(session, table, cursor, None, below, WATCHED_ROWS)
    times = [value for value in values if value is not None]
    if complete or not times:
        return {"after": None, "below": below, "rows": len(values), "sum": sum(times)}
    # Others may share the last value.
    above = values[: values.index(times[-1])]
    total = sum(value for value in above if value is not None)
    return {"after": _edge(cursor, times[-1]), "below": below, "rows": len(above), "sum": total}


def arrived_behind(
    session: Session,
    table: TableName,
    cursor: Cursor,
    position: str,
    watched: Mapping[str, JsonValue],
    reread_from: str | None,
) -> str | None:
    """A warning where rows came behind the position since it was published.

    Args:
        position: the published position, for the message.
        watched: what `watch` gave then.
        reread_from: where this plan's read begins if it looks back: rows from there on are read.
    """
    after, below, rows, total = (watched.get(key) for key in ("after", "below", "rows", "sum"))
    if not isinstance(below, str) or not isinstance(rows, int) or not (after is None or isinstance(after, str)):
        return None
    try:
        literal(cursor.kind, below)
        if reread_from is not None and cursor.later(below, reread_from) != reread_from:
            return None
    except (UsageError, ValueError):
        return None
    if cursor.kind == "date":
        if after is None:
            return None
        now = _count(session, table, cursor, after, below)
        more = now - rows
        newest = _last_day(session, table, cursor, below)
        shown = newest.isoformat() if newest else None
    else:
        values, _ = _newest(session, table, cursor, after, below, rows + WATCHED_ROWS)
        times = [value for value in values if value is not None]
        more = len(values) - rows
        more = max(more, 1) if isinstance(total, int) and sum(times) > total else more
        shown = _edge(cursor, times[0]) if times else None
    if more <= 0:
        return None
    many = f"{'over ' if more > WATCHED_ROWS else ''}{min(more, WATCHED_ROWS):,} row{'s' if more > 1 else ''}"
    return (
        f"{many} of {table} came behind the published position: by {cursor.column} they lie below {below} (the "
        f"highest there is now {shown}), and the position is {position}, so no window reads them. {_fix(cursor, after)}"
    )


def watchable(indexed: bool, estimated_rows: int | None) -> bool:
    """Whether looking at the newest rows costs little."""
    return indexed or (estimated_rows is not None and estimated_rows <= SCANNED_ROWS)


def _fix(cursor: Cursor, after: str | None) -> str:
    if cursor.kind == "number":
        return (
            "If one value lies far ahead, correct it and load the table under a new dataset name. If numbers are taken "
            f"long before their commit, write lookback: N. --start {after or 'N'} reads what was missed"
        )
    if cursor.kind == "date":
        return "If rows get an earlier day, write lookback_seconds. --start DAY reads what was missed"
    return (
        "If rows are stamped long before their commit, raise lag_seconds or write lookback_seconds. --start TIME reads "
        "what was missed"
    )


def _last_day(session: Session, table: TableName, cursor: Cursor, below: str) -> date | None:
    quoted = quote_identifier(cursor.column)
    found = session.value(f"SELECT MAX({quoted}) FROM {table.quoted} WHERE {quoted} < {literal('date', below)}")
    # A day that no calendar has arrives as text.
    return found if isinstance(found, date) and found.year > 1 else None


def _count(session: Session, table: TableName, cursor: Cursor, start: str, below: str) -> int:
    quoted = quote_identifier(cursor.column)
    return int(
        session.value(
            f"SELECT COUNT(*) FROM (SELECT 1 AS one FROM {table.quoted} WHERE {quoted} >= {literal('date', start)}"
            f" AND {quoted} < {literal('date', below)} LIMIT {WATCHED_DAY_ROWS + 1:d}) AS rows_there"
        )
    )


def _newest(
    session: Session, table: TableName, cursor: Cursor, after: str | None, below: str, most: int
) -> tuple[Sequence[int | None], bool]:
    """The highest values between two edges, the highest first, and whether there are no others. Times are microseconds
    since 1970; a date without a month or day, which sorts among them, is None, and rows without a date are left out."""
    quoted = quote_identifier(cursor.column)
    bounds = [f"{quoted} < {literal(cursor.kind, below)}", f"NOT {cursor.no_value}"]
    if after is not None:
        bounds.append(f"{quoted} > {literal(cursor.kind, after)}")
    found = session.rows(
        f"SELECT {quoted} FROM {table.quoted} WHERE {' AND '.join(bounds)} ORDER BY {quoted} DESC LIMIT {most:d}"
    )
    return [_number(value) for (value,) in found], len(found) < most


_EPOCH = datetime(1970, 1, 1)


def _number(value: object) -> int | None:
    if isinstance(value, str):
        return None
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    assert isinstance(value, int)
    return value


def _edge(cursor: Cursor, value: int) -> str:
    return str(value) if cursor.kind == "number" else cursor_literal(_EPOCH + timedelta(microseconds=value))
