"""Two faults that numbers cannot show by themselves: they begin again, or one of them lies far ahead.

A window over numbers begins at the published position, so a row that gets a lower number afterwards lies in no window.
There are three causes: ids that begin again (TRUNCATE, a restored table), a single value far ahead of the others, and
numbers that are taken before their transactions begin. The last cause only shows afterwards (`cursor_watch`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.base import Window
from connectors.errors import AccessDenied, CheckFailed
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import quote_identifier
from connectors.mysql.windows.cursors import Cursor

COMPARED_VALUES = 20
"""How many distinct values, the highest first, are searched for one that is far ahead."""
MOST_AHEAD = 3
GAP_FACTOR = 1000
SMALLEST_GAP = 10_000
"""Applications that take numbers in blocks leave gaps, too."""
_UNITS_PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_NEAR_THE_CLOCK = timedelta(days=400)
_AHEAD_OF_THE_CLOCK = timedelta(days=1)


@dataclass(frozen=True)
class Outlier:
    """A highest number far ahead: `highest`, the highest `ordinary` number, and, where the numbers are times, the
    clock in the same `unit`."""

    highest: int
    ordinary: int
    clock: int | None = None
    unit: str | None = None


def number_warnings(
    session: Session, table: TableName, cursor: Cursor, window: Window, overlap_start: str | None, indexed: bool
) -> list[str]:
    """Returns warnings about numbers below the position that no window will hold; each names both numbers.

    Costs two look-ups at the ends of the cursor's index and, if the server does not hand the numbers out itself,
    `COMPARED_VALUES` more.

    Raises:
        CheckFailed: the server's next number lies below the position, and rows are there that no window holds.
    """
    quoted = quote_identifier(cursor.column)
    lowest, highest, now = session.rows(f"SELECT MIN({quoted}), MAX({quoted}), UTC_TIMESTAMP(6) FROM {table.quoted}")[0]
    lowest, highest = (None if value is None else int(value) for value in (lowest, highest))
    following = next_number(session, table, cursor.column)
    warnings = []
    if window.start is not None:
        covered = lowest is None or (overlap_start is not None and int(overlap_start) <= lowest)
        behind = _begun_again(table, cursor, int(window.start), highest, following)
        if behind and highest is not None and following is not None and highest < int(window.start) and not covered:
            raise CheckFailed(
                behind,
                fix="Load the table under a new dataset name. If the rows below the position are those that the lake "
                f"has, ALTER TABLE {table} AUTO_INCREMENT = {window.start} instead",
            )
        warnings += [behind] if behind and not (covered and highest is not None) else []
    if following is None and highest is not None and lowest is not None:
        values = highest_values(session, table, cursor, highest, indexed)
        ahead = find_outlier(values, lowest, now)
        warnings += [_outlier_warning(table, cursor, ahead)] if ahead else []
    return warnings


def find_outlier(values: Sequence[int], lowest: int, now: datetime) -> Outlier | None:
    """Returns the number far ahead, if there is one.

    If some numbers are near the clock (seconds to nanoseconds since 1970), the numbers are times, and a number is far
    ahead if it is more than a day ahead of the clock. Otherwise one to three numbers are far ahead if the gap below
    them is wide enough. The gap must be wider than `SMALLEST_GAP`, wider than the range of all other numbers, and a
    thousand times wider than the range of the next compared ones.

    Args:
        values: distinct numbers, the highest first.
        lowest: the lowest of all.
        now: the server's clock, naive UTC.
    """
    for unit, per_second in _UNITS_PER_SECOND.items():
        clock = _epoch(now, per_second)
        latest = _epoch(now + _AHEAD_OF_THE_CLOCK, per_second)
        earliest = _epoch(now - _NEAR_THE_CLOCK, per_second)
        near = next((value for value in values if earliest <= value <= latest), None)
        if near is not None:
            return Outlier(values[0], near, clock, unit) if values[0] > latest else None
    for ahead in range(1, MOST_AHEAD + 1):
        others = values[ahead:]
        if len(others) < 2:
            return None
        gap = values[ahead - 1] - others[0]
        if gap > max(SMALLEST_GAP, GAP_FACTOR * (others[0] - others[-1]), others[0] - lowest):
            return Outlier(values[0], others[0])
    return None


def next_number(session: Session, table: TableName, column: str) -> int | None:
    """Returns the number that the server gives the next row; None if it does not hand out this column's numbers, or
    does not say. `information_schema.tables` may be a day old (MySQL manual, information_schema_stats_expiry), so this
    uses SHOW CREATE TABLE."""
    extra = session.value(
        "SELECT extra FROM information_schema.columns WHERE table_schema = %s AND table_name = %s AND column_name = %s",
        (table.database, table.name, column),
    )
    if "auto_increment" not in str(extra or "").lower():
        return None
    try:
        table_definition = str(session.rows(f"SHOW CREATE TABLE {table.quoted}")[0][1])
    except AccessDenied:
        return None
    # Lines of columns and keys are indented. A table whose next number is 1 does not name it.
    options = next((line for line in table_definition.splitlines() if line.startswith(")")), "")
    counter = re.search(r"\bAUTO_INCREMENT=(\d+)", options.partition(" COMMENT=")[0])
    return int(counter[1]) if counter else 1


def highest_values(session: Session, table: TableName, cursor: Cursor, highest: int, indexed: bool) -> list[int]:
    """Returns the highest distinct numbers, the highest first: one look-up each with an index, otherwise one scan."""
    quoted = quote_identifier(cursor.column)
    if not indexed:
        rows = session.rows(
            f"SELECT DISTINCT {quoted} FROM {table.quoted} WHERE {quoted} IS NOT NULL"
            f" ORDER BY {quoted} DESC LIMIT {COMPARED_VALUES:d}"
        )
        return [int(value) for (value,) in rows]
    values = [highest]
    while len(values) < COMPARED_VALUES:
        value = session.value(f"SELECT MAX({quoted}) FROM {table.quoted} WHERE {quoted} < {values[-1]:d}")
        if value is None:
            break
        values.append(int(value))
    return values


def _begun_again(
    table: TableName, cursor: Cursor, position: int, highest: int | None, following: int | None
) -> str | None:
    """Returns why rows may get numbers below the position."""
    at_most = f"the highest {cursor.column} of {table} is {highest}" if highest is not None else f"{table} is empty"
    unread = "rows with numbers below the position are not read"
    if following is not None:
        if following >= position:
            # The newest rows were deleted, and numbers go on.
            return None
        return (
            f"{at_most} and the server gives the next row {following}, but the published position is {position}: "
            f"{unread}"
        )
    if (highest is None and position <= 0) or (highest is not None and highest >= position - 1):
        return None
    return (
        f"{at_most}, but the published position is {position}: {unread}. If the newest rows were deleted and numbers "
        "go on, nothing is lost; if they begin again, load the table under a new dataset name"
    )


def _outlier_warning(table: TableName, cursor: Cursor, ahead: Outlier) -> str:
    beside = (
        f"the clock is {ahead.clock} ({ahead.unit} since 1970)"
        if ahead.clock is not None
        else f"the next lower one is {ahead.ordinary}"
    )
    return (
        f"the highest {cursor.column} of {table} is {ahead.highest}, far ahead: {beside}. Rows that get numbers below "
        f"{ahead.highest + 1} after that was read are not read. Correct that row at the source; if it was read, load "
        "the table under a new dataset name"
    )


def _epoch(moment: datetime, per_second: int) -> int:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * per_second // 10**6
