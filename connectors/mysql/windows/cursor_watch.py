"""Rows that appear behind the position: proof that no window reads them.

With each position a plan remembers the newest rows below it: a fingerprint of each row's cursor value and primary key.
Rows below the position are settled, so until the next plan they can only be deleted or move past the position. A row
that is not among those remembered came behind the position. There are three causes: a number was taken long before its
commit, a value far ahead carried the position past all later ones, or a clock runs in a time zone behind UTC.

If a table has no primary key, or a masked one, only the cursor's value distinguishes its rows; rows that share a value
are counted. With a cursor of days the rows of the last two days are counted, as all rows of a day share its value.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import blake2b

from pydantic import JsonValue

from connectors.base import Description
from connectors.errors import UsageError
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursors import Cursor, cursor_literal
from connectors.mysql.windows.day_counts import MOST_COUNTED, DayCounts

WATCHED_KEY = "watched"
WATCHED_ROWS = 1000
_FINGERPRINT_BYTES = 4
SCANNED_ROWS = 100_000
"""A table of up to about this many rows is watched even if no index leads to its newest ones."""


def watched_key(description: Description, masked_columns: Collection[str]) -> dict[str, str]:
    """Returns what distinguishes rows that share a cursor value: the columns of the primary key and their types; empty
    if one of them is masked."""
    types = {column.name: column.source_type for column in description.columns}
    key = description.primary_key
    return {} if set(key) & set(masked_columns) else {name: types[name] for name in key}


def day_counts(
    session: Session, table: TableName, cursor: Cursor, watched: Mapping[str, JsonValue] | None
) -> DayCounts:
    """Returns the counter of rows per day for both `watch` and `arrived_behind`."""
    after, below = ((watched or {}).get(key) for key in ("after", "below"))
    known = (after, below) if isinstance(after, str) and isinstance(below, str) else None
    return DayCounts(session, table, cursor, known if known and all(map(_is_day, known)) else None)


def watch(
    session: Session, table: TableName, cursor: Cursor, below: str, key: Mapping[str, str], days: DayCounts
) -> dict[str, JsonValue] | None:
    """Returns what to remember of the newest rows below an edge; None if there are too many.

    Args:
        below: where the next read begins.
        key: see `watched_key`.
        days: see `day_counts`.

    Costs one range of the cursor's index, `WATCHED_ROWS` long; for days, all rows of the last two.
    """
    if cursor.kind == "date":
        last = _last_day(session, table, cursor, below)
        if last is None:
            return {"after": None, "below": below, "rows": 0}
        after = (last - timedelta(days=1)).isoformat()
        rows = days.count(after, below)
        return None if rows > MOST_COUNTED else {"after": after, "below": below, "rows": rows}
    newest, complete = _newest(session, table, cursor, key, None, below, WATCHED_ROWS)
    times = [value for value, _ in newest if value is not None]
    edge = None
    if not complete and times:
        # Further rows may share the last value.
        edge = _edge(cursor, times[-1])
        newest = newest[: next(place for place, (value, _) in enumerate(newest) if value == times[-1])]
    fingerprints = b"".join(sorted(fingerprint for _, fingerprint in newest))
    return {
        "after": edge,
        "below": below,
        "rows": len(newest),
        "key": dict(key),
        "seen": base64.b64encode(fingerprints).decode(),
    }


def arrived_behind(
    session: Session,
    table: TableName,
    cursor: Cursor,
    position: str,
    watched: Mapping[str, JsonValue],
    overlap_start: str | None,
    key: Mapping[str, str],
    days: DayCounts,
) -> str | None:
    """Returns a warning if rows came behind the position since it was published.

    Args:
        position: the published position, for the message.
        watched: what `watch` returned then.
        overlap_start: where this plan's read begins if it looks back: it reads the rows from there on.
        key: see `watched_key`.
        days: see `day_counts`.
    """
    after, below, rows = (watched.get(word) for word in ("after", "below", "rows"))
    if not isinstance(below, str) or not isinstance(rows, int) or not (after is None or isinstance(after, str)):
        return None
    try:
        literal(cursor.kind, below)
        if overlap_start is not None and cursor.later(below, overlap_start) != overlap_start:
            return None
    except (UsageError, ValueError):
        return None
    if cursor.kind == "date":
        if after is None:
            return None
        more = days.count(after, below) - rows
        newest = _last_day(session, table, cursor, below)
        shown = newest.isoformat() if newest else None
    else:
        newest_rows, _ = _newest(session, table, cursor, key, after, below, rows + WATCHED_ROWS)
        seen = _remembered(watched, key)
        more = (
            len(newest_rows) - rows if seen is None else sum((Counter(mark for _, mark in newest_rows) - seen).values())
        )
        times = [value for value, _ in newest_rows if value is not None]
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
            "If one value is far ahead, correct it and load the table under a new dataset name. If numbers are taken "
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
    last_day = session.value(f"SELECT MAX({quoted}) FROM {table.quoted} WHERE {quoted} < {literal('date', below)}")
    # A day that no calendar has arrives as text.
    return last_day if isinstance(last_day, date) and last_day.year > 1 else None


def _newest(
    session: Session,
    table: TableName,
    cursor: Cursor,
    key: Mapping[str, str],
    after: str | None,
    below: str,
    most: int,
) -> tuple[Sequence[tuple[int | None, bytes]], bool]:
    """Returns the highest values between two edges with the fingerprints of their rows, the highest first, and whether
    these are all rows. Times are microseconds since 1970. A date without a month or day, which sorts among them,
    becomes None; rows without a date are left out."""
    quoted = quote_identifier(cursor.column)
    bounds = [f"{quoted} < {literal(cursor.kind, below)}", f"NOT {cursor.no_value}"]
    if after is not None:
        bounds.append(f"{quoted} > {literal(cursor.kind, after)}")
    listed = ", ".join([quoted, *map(quote_identifier, key)])
    rows = session.rows(
        f"SELECT {listed} FROM {table.quoted} WHERE {' AND '.join(bounds)} ORDER BY {quoted} DESC LIMIT {most:d}"
    )
    return [(_number(row[0]), _fingerprint(row)) for row in rows], len(rows) < most


def _fingerprint(row: tuple[object, ...]) -> bytes:
    return blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=_FINGERPRINT_BYTES).digest()


def _remembered(watched: Mapping[str, JsonValue], key: Mapping[str, str]) -> Counter[bytes] | None:
    """Returns the fingerprints of a position; None if it has none, or if they were made in another way than now."""
    seen = watched.get("seen")
    if not isinstance(seen, str) or watched.get("key") != dict(key):
        return None
    try:
        return Counter(_split_fingerprints(base64.b64decode(seen, validate=True)))
    except binascii.Error:
        return None


def _split_fingerprints(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _FINGERPRINT_BYTES] for start in range(0, len(data), _FINGERPRINT_BYTES))


def _is_day(text: str) -> bool:
    try:
        literal("date", text)
    except UsageError:
        return False
    return True


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
