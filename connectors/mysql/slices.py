"""Splitting a read into slices of about equal numbers of rows, whatever the keys look like.

Boundaries are sampled from the rows themselves: each row of the window is taken with the chance
`SAMPLES_PER_SLICE / rows_per_slice`, so every `SAMPLES_PER_SLICE`-th sample ends a slice. No estimate
is trusted, and gaps or clusters in the key do not matter.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from connectors.base import Column, Slice
from connectors.errors import UsageError
from connectors.mysql.column_types import required_column_type
from connectors.mysql.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.tables import TableName

SAMPLES_PER_SLICE = 200


def split(
    session: Session, table: TableName, predicate: str, key: Column | None, rows_per_slice: int
) -> tuple[Slice, ...]:
    """The slices of the rows `predicate` holds for: none where there is no row, else at least one.

    `key` is the first column of the primary key. Slices are half-open ranges of it, the first without
    a lower and the last without an upper bound, so together they hold every row exactly once.
    """
    whole = (Slice(id=0, detail={}),)
    if key is None:
        return whole if session.rows(f"SELECT 1 FROM {table.quoted} WHERE {predicate} LIMIT 1") else ()
    found = session.value(
        f"SELECT COUNT(*) FROM (SELECT 1 AS one FROM {table.quoted} WHERE {predicate}"
        f" LIMIT {rows_per_slice + 1:d}) AS first_rows"
    )
    if not found:
        return ()
    kind = required_column_type(key.name, key.source_type, str(table)).literal_kind
    if found <= rows_per_slice or kind is None:
        return whole
    quoted = quote_identifier(key.name)
    chance = min(1.0, SAMPLES_PER_SLICE / rows_per_slice)
    sample = session.rows(
        f"SELECT {quoted} FROM {table.quoted} WHERE {predicate} AND RAND() < {chance:.12f} ORDER BY {quoted}"
    )
    step = max(1, round(rows_per_slice * chance))
    boundaries = list(dict.fromkeys(_canonical(value) for (value,) in sample[step::step]))
    edges = [None, *boundaries, None]
    return tuple(
        Slice(id=number, detail={"column": key.name, "from": low, "below": high})
        for number, (low, high) in enumerate(pairwise(edges))
    )


def slice_predicate(piece: Slice, columns: tuple[Column, ...], table: TableName) -> str:
    """The slice's range as an SQL condition; `TRUE` for a whole read.

    Raises:
        UsageError: the slice names a column the plan does not have.
    """
    if not piece.detail:
        return "TRUE"
    key = next((column for column in columns if column.name == piece.detail["column"]), None)
    kind = required_column_type(key.name, key.source_type, str(table)).literal_kind if key else None
    if key is None or kind is None:
        raise UsageError(f"slice {piece.id} is by {piece.detail['column']!r}, which the plan does not have")
    quoted = quote_identifier(key.name)
    low, high = piece.detail["from"], piece.detail["below"]
    bounds = [f"{quoted} >= {literal(kind, str(low))}"] if low is not None else []
    if high is not None:
        bounds.append(f"{quoted} < {literal(kind, str(high))}")
    return " AND ".join(bounds) or "TRUE"


def _canonical(value: object) -> str:
    """A key value as PyMySQL gives it, as the text `literal` takes."""
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat(sep=" ", timespec="microseconds")
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)
