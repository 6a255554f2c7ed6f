"""Splits a read into slices of about equal numbers of rows, for keys of any distribution.

A whole table is cut along its primary key, and planning looks at only a few rows per slice (`key_boundaries`). A window
that holds a small part of a table is cut along its cursor, then the primary key, at rows sampled through the cursor's
index. So the cost of planning and reading it depends on the rows of the window, not on the size of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil
from typing import cast

from connectors.base import Column, Slice
from connectors.errors import UsageError
from connectors.mysql.schema.column_types import column_type
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.slicing.key_boundaries import MAX_SLICES, find_boundaries
from connectors.mysql.slicing.key_index import KeyIndex, key_columns
from connectors.mysql.slicing.key_interpolation import KeySpace
from connectors.mysql.slicing.key_ranges import Key, KeyColumn, at_least, below, range_condition
from connectors.mysql.slicing.row_estimates import ExplainedRows, MeasuredRows, NoEstimate

SAMPLES_PER_SLICE = 200
ENOUGH_REGIONS = 256
"""From this many of TiDB's regions on (24 GB at least), boundaries are their edges; fewer are sampled by a scan."""
_ALL_ROWS = 2**64 - 1


@dataclass(frozen=True)
class WindowRows:
    """The rows of a window: an SQL condition, and the window's cursor if it has an index."""

    condition: str
    cursor: Column | None = None


def split(
    session: Session,
    table: TableName,
    columns: Sequence[Column],
    rows_per_slice: int,
    *,
    window: WindowRows | None = None,
    estimate_rows: Callable[[str], float | None],
    region_boundaries: Callable[[KeyIndex], list[Key]],
    estimate_resolution: float = 0.0,
    masked_columns: frozenset[str] = frozenset(),
) -> tuple[Slice, ...]:
    """Returns the slices of a table, or of a window of it: empty if there is no row, otherwise at least one.

    Slices are half-open ranges, the first without a lower bound and the last without an upper bound. So together they
    hold every row exactly once, including rows written after the planning.

    Args:
        columns: the table's columns.
        estimate_rows: gives the optimizer's estimate of the rows of a SELECT, None if there is no estimate to trust.
        region_boundaries: gives keys about equally far apart, if the server knows some (`Dialect.region_boundaries`).
        estimate_resolution: the smallest part of a table for which such an estimate is good.
        masked_columns: columns whose values must not appear in a plan; no boundary is made of them.
    """
    condition = window.condition if window else "TRUE"
    counted_rows = session.value(
        f"SELECT COUNT(*) FROM (SELECT 1 AS one FROM {table.quoted} WHERE {condition}"
        f" LIMIT {rows_per_slice + 1:d}) AS first_rows"
    )
    if not counted_rows:
        return ()
    if counted_rows <= rows_per_slice:
        return (Slice(id=0, detail={}, planned_rows=counted_rows),)
    key = key_columns(session, table, columns, masked_columns)
    if window and not (window.cursor and key and _nearly_all(session, table, window, rows_per_slice, estimate_rows)):
        if window.cursor and window.cursor.name not in masked_columns:
            key = _by_cursor(window.cursor, key)
        return _slices(key, _sampled(session, table, key, condition, rows_per_slice))
    return _slices(
        key, _searched(session, table, key, rows_per_slice, estimate_rows, region_boundaries, estimate_resolution)
    )


def slice_predicate(slice_: Slice, columns: Sequence[Column], within: str | None = None) -> str:
    """Returns the slice's range as an SQL condition, combined with `within`; `TRUE` for a whole read.

    Raises:
        UsageError: the slice names a column that the plan does not have.
    """
    if not slice_.detail:
        return within or "TRUE"
    known = {column.name: column for column in columns}
    names = cast(list[str], slice_.detail["columns"])
    key = []
    for name in names:
        kind = column_type(known[name].source_type) if name in known else None
        if kind is None or kind.literal_kind is None:
            raise UsageError(f"slice {slice_.id} is by {name!r}, which the plan does not have")
        key.append(KeyColumn(name, kind.literal_kind, known[name].nullable))
    low, high = (
        tuple(cast(list[str], slice_.detail[end])) if slice_.detail[end] is not None else None
        for end in ("from", "below")
    )
    return range_condition(
        tuple(key), at_least(low) if low is not None else None, below(high) if high is not None else None, within
    )


def cut_within(slice_: Slice, key: Sequence[str]) -> bool:
    """Whether a slice is a range of columns of this key alone, so that no other slice of its plan has any of its
    keys."""
    return bool(slice_.detail) and set(cast(list[str], slice_.detail["columns"])) <= set(key)


def _slices(key: tuple[KeyColumn, ...], boundaries: Sequence[Key]) -> tuple[Slice, ...]:
    if not boundaries:
        return (Slice(id=0, detail={}),)
    names = [column.name for column in key]
    edges = [None, *map(list, boundaries), None]
    return tuple(
        Slice(id=number, detail={"columns": names, "from": low, "below": high})
        for number, (low, high) in enumerate(pairwise(edges))
    )


def _searched(
    session: Session,
    table: TableName,
    key: tuple[KeyColumn, ...],
    rows_per_slice: int,
    estimate_rows: Callable[[str], float | None],
    region_boundaries: Callable[[KeyIndex], list[Key]],
    estimate_resolution: float,
) -> list[Key]:
    """Returns boundaries for the whole table."""
    if not key:
        return []
    index = KeyIndex(session, table, key)
    spaces = [KeySpace(column, partial(index.sorted_texts, place)) for place, column in enumerate(key)]
    if estimate_resolution and len(key) == 1:
        return find_boundaries(index, spaces, MeasuredRows(index, spaces[0]), rows_per_slice)
    explained = estimate_rows(index.range_query(None, None))
    # Half a slice at least: more rows were counted already, so a lower estimate is from outdated statistics, or none.
    if explained is not None and explained >= rows_per_slice / 2:
        # TiDB loads a column's histogram when it is first needed, and may drop it again.
        with suppress(NoEstimate):
            explained_rows = ExplainedRows(index, estimate_rows)
            return find_boundaries(index, spaces, explained_rows, rows_per_slice, estimate_resolution, doubted=True)
    if len(key) == 1:
        return find_boundaries(index, spaces, MeasuredRows(index, spaces[0]), rows_per_slice)
    regions = region_boundaries(index)
    if len(regions) >= ENOUGH_REGIONS:
        return index.sort(list(_quantiles(regions, min(len(regions) // 2, MAX_SLICES))))
    return _sampled(session, table, key, "TRUE", rows_per_slice)


def _nearly_all(
    session: Session,
    table: TableName,
    window: WindowRows,
    rows_per_slice: int,
    estimate_rows: Callable[[str], float | None],
) -> bool:
    """Whether slices that are even in the table's rows are about even in the window's rows."""
    most = ceil(rows_per_slice / 4)
    outside = f"SELECT 1 AS one FROM {table.quoted} WHERE NOT ({window.condition})"
    if session.value(f"SELECT COUNT(*) FROM ({outside} LIMIT {most + 1:d}) AS outside") <= most:
        return True
    without, within = estimate_rows(outside), estimate_rows(f"SELECT 1 FROM {table.quoted} WHERE {window.condition}")
    return without is not None and within is not None and 4 * without < within


def _by_cursor(cursor: Column, key: tuple[KeyColumn, ...]) -> tuple[KeyColumn, ...]:
    kind = column_type(cursor.source_type)
    if kind is None or kind.literal_kind is None:
        return key
    first = KeyColumn(cursor.name, kind.literal_kind, cursor.nullable)
    return (first, *(column for column in key if column.name != cursor.name))


def _sampled(
    session: Session, table: TableName, key: tuple[KeyColumn, ...], condition: str, rows_per_slice: int
) -> list[Key]:
    """Returns boundaries for a window's rows, from a sample of them."""
    if not key:
        return []
    chance = min(1.0, SAMPLES_PER_SLICE / rows_per_slice)
    names = [replace(column, name=f"k{place}") for place, column in enumerate(key)]
    taken = ", ".join(f"{column.quoted} AS {name.quoted}" for column, name in zip(key, names, strict=True))
    # The limit separates the sample from its sorting, which could otherwise lead through the primary key's index.
    sample = session.rows(
        f"SELECT {', '.join(name.as_text for name in names)} FROM (SELECT {taken} FROM {table.quoted}"
        f" WHERE {condition} AND RAND() < {chance:.12f} LIMIT {_ALL_ROWS:d}) AS sampled"
        f" ORDER BY {', '.join(name.quoted for name in names)}"
    )
    keys = [tuple(str(value) for value in row) for row in sample if None not in row]
    slices = min(ceil(len(keys) / (rows_per_slice * chance)), MAX_SLICES)
    return KeyIndex(session, table, key).sort(list(_quantiles(keys, slices)))


def _quantiles(keys: Sequence[Key], parts: int) -> Iterator[Key]:
    for part in range(1, parts):
        yield keys[part * len(keys) // parts]
