"""Whether rows that were read are still the same rows: numbers that began again lead to others.

After TRUNCATE and a reload a table may have more rows than before, and then nothing in its numbers shows that those up
to the position were never read. So a position over numbers remembers checksums of the newest rows below it. Rows of
such a table are only added; where all that are compared have other contents, the numbers began again, or the rows were
updated, which a cursor of numbers does not see either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pydantic import JsonValue

from connectors.base import Column
from connectors.mysql.column_types import column_type
from connectors.mysql.cursors import Cursor
from connectors.mysql.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.tables import TableName

MARKED_ROWS = 10
FEWEST_COMPARED = 3
"""Fewer rows may well have been updated, all of them."""
_MARKED_COLUMNS = 8
_MARKED_CHARACTERS = 100
_TIMES = ("date", "datetime")


def mark_rows(
    session: Session,
    table: TableName,
    cursor: Cursor,
    columns: Sequence[Column],
    hidden: Collection[str],
    below: str,
) -> dict[str, JsonValue] | None:
    """What to remember of the newest rows below an edge: no value but the cursor's, and nothing of masked columns.
    None where there is nothing to tell rows by. Costs a range of `MARKED_ROWS` in the cursor's index."""
    names = _telling(cursor, columns, hidden)
    if not names:
        return None
    quoted = quote_identifier(cursor.column)
    found = _checksums(
        session,
        table,
        cursor,
        names,
        f"{quoted} < {literal('number', below)} ORDER BY {quoted} DESC LIMIT {MARKED_ROWS:d}",
    )
    return {"columns": list(names), "checksums": dict(found.items())} if found else None


def other_rows(
    session: Session,
    table: TableName,
    cursor: Cursor,
    columns: Sequence[Column],
    position: str,
    marks: Mapping[str, JsonValue],
) -> str | None:
    """A warning where all rows that `mark_rows` marked and that are there have other contents now."""
    names, before = marks.get("columns"), marks.get("checksums")
    known = {column.name for column in columns}
    if not isinstance(names, list) or not isinstance(before, Mapping) or not known.issuperset(map(str, names)):
        return None
    values = [str(value) for value in before]
    listed = ", ".join(literal("number", value) for value in values)
    now = _checksums(
        session, table, cursor, [str(name) for name in names], f"{quote_identifier(cursor.column)} IN ({listed})"
    )
    compared = [value for value in values if value in now]
    if len(compared) < FEWEST_COMPARED or any(now[value] == before[value] for value in compared):
        return None
    lowest, highest = min(map(int, compared)), max(map(int, compared))
    return (
        f"the newest rows of {table} below the published position {position}, of {cursor.column} {lowest} to "
        f"{highest}, are others than those that were read. If the numbers began again, the rows below the position "
        "were not read: load the table under a new dataset name. If the rows were updated, a cursor of numbers does "
        "not see it"
    )


def _telling(cursor: Cursor, columns: Sequence[Column], hidden: Collection[str]) -> list[str]:
    """Columns that tell one row from another: times first, as no two loads have the same."""
    kinds = {column.name: column_type(column.source_type).literal_kind for column in columns}
    names = [name for name, kind in kinds.items() if kind and name != cursor.column and name not in hidden]
    return sorted(names, key=lambda name: kinds[name] not in _TIMES)[:_MARKED_COLUMNS]


def _checksums(
    session: Session, table: TableName, cursor: Cursor, names: Sequence[str], condition: str
) -> dict[str, int]:
    """Checksums by the cursor's value, of values that one row has."""
    texts = ", ".join(f"QUOTE(LEFT({quote_identifier(name)}, {_MARKED_CHARACTERS:d}))" for name in names)
    found = session.rows(
        f"SELECT {quote_identifier(cursor.column)}, CRC32(CONCAT_WS('|', {texts})) FROM {table.quoted}"
        f" WHERE {condition}"
    )
    rows = Counter(value for value, _ in found)
    return {str(value): int(checksum) for value, checksum in found if rows[value] == 1}
