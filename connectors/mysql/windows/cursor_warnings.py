"""Warnings about a cursor whose windows miss rows, and refusals of options that do not fit the cursor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from connectors.base import Description
from connectors.errors import CheckFailed, UnsupportedType
from connectors.mysql.dialects.server_zone import server_zone, written_in_local_time, zone_to_write
from connectors.mysql.schema.table_identity import table_identity
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.windows.cursor_watch import WATCHED_KEY, arrived_behind, day_counts, watch, watchable, watched_key
from connectors.mysql.windows.cursors import Cursor
from connectors.mysql.windows.number_cursors import number_warnings
from connectors.mysql.windows.row_marks import mark_rows, other_rows
from connectors.mysql.windows.window import NullCursors, PlannedWindow, WindowOptions, lookback_start

MARKS_KEY = "marks"


@dataclass(frozen=True)
class CursorFindings:
    """Warnings, and what the position remembers for the next plan."""

    warnings: tuple[str, ...]
    watched: dict[str, JsonValue] | None


def check_options(cursor: Cursor, table: TableName, options: WindowOptions) -> None:
    """Refuses options of a dataset that are for another kind of cursor.

    Raises:
        UnsupportedType: `lookback` beside a time, or `lookback_seconds` beside a number.
    """
    if cursor.kind == "number" and options.lookback_seconds:
        raise UnsupportedType(
            f"lookback_seconds is for a cursor of times, and {cursor.column} of {table} holds numbers",
            fix="Write lookback: N, which reads the last N numbers before the window again",
            key=("lookback_seconds",),
        )
    if cursor.kind != "number" and options.lookback:
        raise UnsupportedType(
            f"lookback is for a cursor of numbers, and {cursor.column} of {table} holds times",
            fix="Write lookback_seconds: N",
            key=("lookback",),
        )


def examine_cursor(
    session: Session,
    description: Description,
    table: TableName,
    cursor: Cursor,
    options: WindowOptions,
    planned: PlannedWindow,
    position: Mapping[str, JsonValue] | None,
    masked_columns: Collection[str],
) -> CursorFindings:
    """Returns warnings about rows that a scheduled window misses. `session` sees the table as it was when the window
    was planned. Nothing of masked columns is remembered.

    Raises:
        CheckFailed: see `number_warnings`.
    """
    indexed = cursor.column in description.indexed
    watched_before = (position or {}).get(WATCHED_KEY)
    warnings: list[str | None] = []
    behind: str | None = None
    if cursor.kind == "number":
        warnings += number_warnings(session, table, cursor, planned.window, planned.overlap_start, indexed)
    watched = None
    if watchable(indexed, description.estimated_rows):
        start, end = planned.window.start, planned.window.end
        assert end is not None, "a scheduled window ends"
        below = lookback_start(cursor, end, options) or end
        before = watched_before if start is not None and isinstance(watched_before, Mapping) else None
        key, days = watched_key(description, masked_columns), day_counts(session, table, cursor, before)
        watched = watch(session, table, cursor, below, key, days)
        identity = table_identity(session, table) if cursor.kind == "number" else None
        if start is not None and before is not None:
            behind = arrived_behind(session, table, cursor, start, before, planned.overlap_start, key, days)
            marks = before.get(MARKS_KEY)
            if isinstance(marks, Mapping):
                warnings.append(other_rows(session, table, cursor, description.columns, start, marks, identity))
        if cursor.kind == "number" and watched is not None:
            watched[MARKS_KEY] = mark_rows(session, table, cursor, description.columns, masked_columns, below, identity)
    if cursor.kind == "number" or cursor.instant or cursor.zone:
        warnings.append(behind)
    else:
        zone = server_zone(session)
        now = session.value("SELECT UTC_TIMESTAMP(6)")
        cheap = cursor.kind == "datetime" and watchable(indexed, description.estimated_rows)
        local = written_in_local_time(session, table, cursor, zone, now) if zone and cheap else None
        warnings += [f"{text}. {zone_to_write(cursor, zone)}" for text in (behind, local) if text]
    return CursorFindings(tuple(text for text in warnings if text), watched)


def rows_without_value(
    session: Session, description: Description, table: TableName, cursor: Cursor, null_cursors: NullCursors
) -> Literal["include", "quarantine"] | None:
    """Returns how rows are read that no window holds, because their cursor is NULL or a zero date; None if there are no
    such rows.

    Costs one look-up in the cursor's index; to refuse, a count of those rows.

    Raises:
        CheckFailed: such rows exist and are to be refused; the message says how many.
    """
    column = next(column for column in description.columns if column.name == cursor.column)
    if cursor.kind == "number" and not column.nullable:
        return None
    if null_cursors != "refuse":
        row = session.rows(f"SELECT 1 FROM {table.quoted} WHERE {cursor.no_value} LIMIT 1")
        return null_cursors if row else None
    count = session.value(f"SELECT COUNT(*) FROM {table.quoted} WHERE {cursor.no_value}")
    if count:
        what = cursor.column if cursor.kind == "number" else f"{cursor.column}, NULL or a zero date"
        raise CheckFailed(
            f"{count} row{'s' if count != 1 else ''} of {table} {'have' if count != 1 else 'has'} no {what}: "
            "no window would ever hold them",
            fix=f"Fill them in and declare {cursor.column} NOT NULL with a default that is a time, or write "
            "null_cursors: include (they are read every time) or quarantine",
        )
    return None
