"""Cursors: the columns that windows may use, and how a window's edges are written for each.

A cursor orders the changes of a table: a time (TIMESTAMP, DATETIME in UTC or in the time zone the dataset names), a day
(DATE) or a number (an id that only grows). Edges are half-open, so rows that share a value are on one side of every
edge. If there are several columns, the first makes the windows; the others order rows that share its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from connectors.base import Description, Window
from connectors.errors import ObjectNotFound, UnsupportedType, UsageError, WindowUnfit
from connectors.mysql.schema.column_types import column_type
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursor_zone import earliest_instant, first_wall_from, last_wall_until

FIRST_DAY = "0001-01-01"
UTC_ZONE = "UTC"
_WHOLE = re.compile("-?[0-9]{1,20}")
"""BIGINT UNSIGNED has 20 digits (MySQL manual, Integer Types)."""

CursorKind = Literal["datetime", "date", "number"]

_KINDS: dict[str, CursorKind] = {
    "datetime": "datetime",
    "timestamp": "datetime",
    "date": "date",
    "tinyint": "number",
    "smallint": "number",
    "mediumint": "number",
    "int": "number",
    "bigint": "number",
}


@dataclass(frozen=True)
class Cursor:
    """The column that makes the windows, and the kind of its values. `lowest` is the lowest number of its type.
    `instant`: its times are those of a TIMESTAMP. `zone` is the IANA time zone of its local times; None means UTC."""

    column: str
    kind: CursorKind
    lowest: int = 0
    instant: bool = False
    zone: str | None = None

    def edge(self, moment: datetime) -> str:
        """Returns a naive UTC time as an edge. Rows stamped from then on have no smaller value; with days they may have
        the same one."""
        return self._text(first_wall_from(self.zone, moment) if self.zone else moment)

    def highest(self, moment: datetime) -> str:
        """Returns the greatest value of rows stamped until a naive UTC time."""
        return self._text(last_wall_until(self.zone, moment) if self.zone else moment)

    def _text(self, wall: datetime) -> str:
        return wall.date().isoformat() if self.kind == "date" else cursor_literal(wall)

    def predicate(self, window: Window) -> str:
        """Returns `window` as an SQL condition; `TRUE` if it has no bounds."""
        quoted = quote_identifier(self.column)
        bounds = [f"{quoted} >= {literal(self.kind, window.start)}"] if window.start is not None else []
        if window.end is not None:
            bounds.append(f"{quoted} < {literal(self.kind, window.end)}")
        return " AND ".join(bounds) or "TRUE"

    @property
    def no_value(self) -> str:
        """The rows that no window holds, as an SQL condition that can use an index: those with NULL or a zero date.

        On a NOT NULL column the server itself finds zero dates by IS NULL (MySQL manual, Comparison Functions), on
        others it does not. A TIMESTAMP begins with 1970 (manual, The DATE, DATETIME, and TIMESTAMP Types). The year 0
        counts as zero as well, since neither Spark nor BigQuery has it.
        """
        quoted = quote_identifier(self.column)
        if self.kind == "number":
            return f"{quoted} IS NULL"
        first = "1970-01-01 00:00:01" if self.instant else FIRST_DAY + " 00:00:00" * (self.kind == "datetime")
        return f"({quoted} IS NULL OR {quoted} < {literal(self.kind, first)})"

    def later(self, one: str, other: str) -> str:
        """Returns the greater of two edges."""
        return max(one, other, key=int) if self.kind == "number" else max(one, other)

    def lower(self, edge: str, numbers: int) -> str:
        """Returns the edge that lies so many numbers lower, but not below the lowest of the column's type."""
        return str(max(int(edge) - numbers, self.lowest))

    def before(self, edge: str, seconds: int) -> str:
        """Returns the edge that lies `seconds` earlier; for days and where clocks change, at least that much."""
        wall = datetime.fromisoformat(edge)
        moment = earliest_instant(self.zone, wall) if self.zone else wall
        try:
            return self.edge(moment - timedelta(seconds=seconds))
        except OverflowError:
            return self.edge(datetime.min)

    def asked_for(self, which: Literal["start", "end"], text: str) -> str:
        """Returns an edge from a person's text: ISO 8601 (UTC if it has no offset), or a whole number.

        Raises:
            WindowUnfit: the text is of the other kind, or a time within a day for a cursor of days.
            UsageError: the text is neither.
        """
        self._check_kind(which, text)
        if self.kind == "number":
            if not _WHOLE.fullmatch(text):
                raise UsageError(
                    f"window {which} {text!r} is not a whole number, and the cursor {self.column} is one",
                    fix="Write it like 1000",
                )
            return str(int(text))
        try:
            moment = datetime.fromisoformat(text)
            # A day without a time is taken in the cursor's own zone.
            zone = self.zone if self.kind == "datetime" or moment.tzinfo else None
            moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            raise UsageError(
                f"window {which} {text!r} is not an ISO 8601 time", fix="Write it like 2026-11-23T07:00:00Z"
            ) from None
        walls = [first_wall_from(zone, moment), last_wall_until(zone, moment)] if zone else [moment]
        if self.kind == "date":
            walls = [wall for wall in walls if wall == datetime.combine(wall, datetime.min.time())]
        if not walls:
            raise WindowUnfit(
                f"window {which} {text!r} is within a day, and the cursor {self.column} holds days"
                + (f" of {self.zone}" if self.zone else ""),
                fix=f"Write it like {date(moment.year, moment.month, moment.day).isoformat()}",
            )
        # Where clocks go back, both passes of the hour show the same times: rather read more than leave something out.
        return self._text(walls[0] if which == "start" else walls[-1])

    def check_window(self, window: Window) -> None:
        """Checks that both bounds can be read. Raises the errors of `asked_for`."""
        if window.start is not None:
            self.asked_for("start", window.start)
        if window.end is not None:
            self.asked_for("end", window.end)

    def _check_kind(self, which: str, text: str) -> None:
        """Raises for a time in place of a number, or a number in place of a time. Another dataset of the pipeline may
        accept it."""
        whole = _WHOLE.fullmatch(text) is not None
        if self.kind == "number" and not whole and _is_time(text):
            raise WindowUnfit(
                f"window {which} {text!r} is a time, and its cursor {self.column} is a number",
                fix="Write it like 1000",
                key=("cursor",),
            )
        if self.kind != "number" and whole and not _is_time(text):
            raise WindowUnfit(
                f"window {which} {text!r} is a number, and its cursor {self.column} is a time",
                fix="Write it like 2026-11-23T07:00:00Z",
                key=("cursor",),
            )

    def is_before(self, start: str, end: str) -> bool:
        """Whether `start` lies before `end`."""
        return int(start) < int(end) if self.kind == "number" else start < end


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def cursor_literal(moment: datetime) -> str:
    """Returns a naive UTC time as a cursor value: `2026-11-23 07:00:00.000000`."""
    return moment.isoformat(sep=" ", timespec="microseconds")


def find_cursor(
    description: Description, table: TableName, columns: tuple[str, ...], zone: str | None = None
) -> Cursor:
    """Returns the cursor that a dataset names, with the time zone of its local times.

    Raises:
        ObjectNotFound: there is no such column; the error lists columns that would do, indexed ones first.
        UnsupportedType: its values do not order changes, or have no time zone.
    """
    types = {column.name: column.source_type for column in description.columns}
    for name in columns:
        if name not in types:
            raise ObjectNotFound(
                f"cursor {name!r} is not a column of {table}", fix=would_do(description), key=("cursor",)
            )
    for name in columns[1:]:
        if column_type(types[name]).literal_kind in (None, "string"):
            raise UnsupportedType(
                f"cursor {name!r} of {table} is {types[name]}, which does not order rows the same way everywhere",
                fix="Take a number or a time, or leave it out",
                key=("cursor",),
            )
    kind = _KINDS.get(_word(types[columns[0]]))
    if kind is None:
        raise UnsupportedType(
            f"cursor {columns[0]!r} of {table} is {types[columns[0]]}; a cursor is DATETIME, TIMESTAMP, DATE or a "
            "whole number",
            fix=would_do(description),
            key=("cursor",),
        )
    source_type = types[columns[0]]
    lowest = _lowest(source_type) if kind == "number" else 0
    instant = _word(source_type) == "timestamp"
    if zone and (instant or kind == "number"):
        raise UnsupportedType(
            f"cursor_time_zone is for a cursor of local times, and {columns[0]} of {table} is {source_type}",
            fix="Leave it out: a TIMESTAMP is an instant" if instant else "Leave it out",
            key=("cursor_time_zone",),
        )
    return Cursor(columns[0], kind, lowest, instant, None if zone == UTC_ZONE else zone)


def unindexed(description: Description, table: TableName, cursor: str) -> str | None:
    """Returns a warning if no index leads to the cursor's rows."""
    if cursor in description.indexed:
        return None
    size = "an unknown number of" if description.estimated_rows is None else f"about {description.estimated_rows:,}"
    return (
        f"cursor {cursor!r} of {table} has no index: every run reads the whole table, {size} rows. CREATE INDEX on it"
    )


def would_do(description: Description) -> str:
    """Returns, for people, the columns that could be a cursor: times and days, indexed ones first."""
    names = [c.name for c in description.columns if _KINDS.get(_word(c.source_type)) in ("datetime", "date")]
    names.sort(key=lambda name: name not in description.indexed)
    indexed = [name for name in names if name in description.indexed]
    if not names:
        return "No column would do: leave cursor out to read the whole table each time"
    if len(indexed) == len(names):
        how_many = {1: "indexed", 2: "both indexed"}.get(len(names), "all indexed")
        return f"Columns that would do: {', '.join(names)} ({how_many})"
    return "Columns that would do: " + ", ".join(f"{name} (indexed)" if name in indexed else name for name in names)


_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


def _lowest(source_type: str) -> int:
    return 0 if "unsigned" in source_type.lower() else -(2 ** (_BITS[_word(source_type)] - 1))


def _word(source_type: str) -> str:
    return source_type.partition("(")[0].partition(" ")[0].lower()
