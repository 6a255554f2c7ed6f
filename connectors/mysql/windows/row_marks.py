"""Marks of rows that were read, to find out whether they are still the same rows after numbers began again.

After TRUNCATE and a reload a table may have more rows than before. Then nothing in its numbers shows that the rows up
to the position were never read. So a position over numbers remembers the table's identity and checksums of the newest
rows below it.

- If the identity is another, one row that differs is enough. An ALTER, an OPTIMIZE or a restore changes it as well, but
  leaves the rows as they are.
- If it is the same, or not known, rows may have been updated, which a cursor of numbers does not see either. Then all
  compared rows must differ.

Each column has its own checksum, so a column that was removed or now has another type is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from pydantic import JsonValue

from connectors.base import Column
from connectors.mysql.schema.column_types import column_type, is_geometry, is_known
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursors import Cursor

MARKED_ROWS = 10
FEWEST_COMPARED = 3
"""Fewer rows of the same table may well all have been updated."""
_MARKED_COLUMNS = 12
_MARKED_CHARACTERS = 100
_DIGITS = 4
"""Hexadecimal digits of a value's checksum."""
_TIMES = ("date", "datetime")


@dataclass(frozen=True)
class _Column:
    name: str
    source_type: str

    @property
    def text(self) -> str:
        """The value as text that an ALTER does not change, independent of the column's character set."""
        quoted = quote_identifier(self.name)
        word = self.source_type.lower()
        if column_type(self.source_type).literal_kind == "binary" or word.startswith("bit"):
            return f"HEX(LEFT({quoted}, {_MARKED_CHARACTERS:d}))"
        return f"CONVERT(LEFT({quoted}, {_MARKED_CHARACTERS:d}) USING utf8mb4)"


def mark_rows(
    session: Session,
    table: TableName,
    cursor: Cursor,
    columns: Sequence[Column],
    masked_columns: Collection[str],
    below: str,
    identity: str | None,
) -> dict[str, JsonValue]:
    """Returns what to remember of the table and the newest rows below an edge: no value but the cursor's, and nothing
    of masked columns. Costs a range of `MARKED_ROWS` in the cursor's index.

    Args:
        identity: see `table_identity`.
    """
    marked = _telling(cursor, columns, masked_columns)
    quoted = quote_identifier(cursor.column)
    checksums = _checksums(
        session,
        table,
        cursor,
        marked,
        f"{quoted} < {literal('number', below)} ORDER BY {quoted} DESC LIMIT {MARKED_ROWS:d}",
    )
    return {
        "table": identity,
        "columns": {column.name: column.source_type for column in marked},
        "rows": {value: "".join(sums) for value, sums in checksums.items()},
        "hidden": not marked and len(columns) > 1,
    }


def other_rows(
    session: Session,
    table: TableName,
    cursor: Cursor,
    columns: Sequence[Column],
    position: str,
    marks: Mapping[str, JsonValue],
    identity: str | None,
) -> str | None:
    """Returns a warning if rows below the position are not the rows that were read.

    Args:
        marks: what `mark_rows` returned when the position was published.
        identity: the table's identity now.
    """
    before, names, rows = marks.get("table"), marks.get("columns"), marks.get("rows")
    if not isinstance(names, Mapping) or not isinstance(rows, Mapping) or not rows:
        return None
    recreated = isinstance(before, str) and identity is not None and before != identity
    types = {column.name: column.source_type for column in columns}
    marked = [_Column(str(name), str(source_type)) for name, source_type in names.items()]
    # Values of the other types, such as doubles, may be computed again over all rows, so they count only if the table
    # was built again.
    comparable = [
        place
        for place, column in enumerate(marked)
        if types.get(column.name) == column.source_type and (recreated or column_type(column.source_type).literal_kind)
    ]
    if not comparable and not (recreated and marks.get("hidden")):
        return None
    listed = ", ".join(literal("number", str(value)) for value in rows)
    now = _checksums(session, table, cursor, marked, f"{quote_identifier(cursor.column)} IN ({listed})", comparable)
    if not comparable:
        return _incomparable_warning(table, cursor, position, str(before), str(identity)) if now else None
    compared = [str(value) for value in rows if str(value) in now]
    others = [value for value in compared if now[value] != _at(str(rows[value]), comparable)]
    if not others or (not recreated and (len(others) < len(compared) or len(compared) < FEWEST_COMPARED)):
        return None
    lowest, highest = min(map(int, others)), max(map(int, others))
    numbers = f"of {cursor.column} {lowest} to {highest}" if lowest < highest else f"of {cursor.column} {lowest}"
    if recreated:
        return (
            f"{table} was recreated since the published position {position} (table id {before}, now {identity}), as by "
            f"TRUNCATE, and {len(others)} of the {len(compared)} newest rows below it, {numbers}, differ from those "
            "that were read. If the table was reloaded, the rows below the position were not read: load it under "
            "a new dataset name. If it was only rebuilt and the rows were updated, a cursor of numbers does not see "
            "updates"
        )
    return (
        f"the newest rows of {table} below the published position {position}, {numbers}, differ from those that were "
        "read. If the numbers began again, the rows below the position were not read: load the table under a new "
        "dataset name. If the rows were updated, a cursor of numbers does not see it"
    )


def _incomparable_warning(table: TableName, cursor: Cursor, position: str, before: str, now: str) -> str:
    return (
        f"{table} was recreated since the published position {position} (table id {before}, now {now}), by TRUNCATE or "
        f"by an ALTER that rebuilt it. All columns but {cursor.column} are masked or cannot be compared, so nothing "
        "shows whether its rows are those that were read. If it was reloaded, load it under a new dataset name"
    )


def _telling(cursor: Cursor, columns: Sequence[Column], masked_columns: Collection[str]) -> list[_Column]:
    """Returns columns that distinguish rows: times first, as no two loads have the same, and last those that are not
    exact numbers, texts or times."""

    def rank(column: Column) -> int:
        kind = column_type(column.source_type).literal_kind
        return 0 if kind in _TIMES else 1 if kind else 2

    shown = [
        column
        for column in columns
        if column.name != cursor.column
        and column.name not in masked_columns
        and is_known(column.source_type)
        and not is_geometry(column.source_type)
    ]
    return [_Column(column.name, column.source_type) for column in sorted(shown, key=rank)[:_MARKED_COLUMNS]]


def _checksums(
    session: Session,
    table: TableName,
    cursor: Cursor,
    columns: Sequence[_Column],
    condition: str,
    places: Sequence[int] | None = None,
) -> dict[str, list[str]]:
    """Returns {cursor value: checksums of the row's values}, for cursor values that only one row has."""
    chosen = [columns[place] for place in (range(len(columns)) if places is None else places)]
    listed = ", ".join([quote_identifier(cursor.column), *(column.text for column in chosen)])
    selected = session.rows(f"SELECT {listed} FROM {table.quoted} WHERE {condition}")
    rows = Counter(value for value, *_ in selected)
    return {str(value): [_checksum(text) for text in texts] for value, *texts in selected if rows[value] == 1}


def _checksum(text: object) -> str:
    data = b"NULL" if text is None else b"=" + str(text).encode("utf-8", "surrogatepass")
    return f"{crc32(data):08x}"[:_DIGITS]


def _at(sums: str, places: Sequence[int]) -> list[str]:
    return [sums[place * _DIGITS : (place + 1) * _DIGITS] for place in places]
