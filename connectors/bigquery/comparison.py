"""Sums of a dataset's table, partition by partition: live rows, and a sum over their keys and versions.

A partition is named by its number (`Partitioning.number_of`), where None is the partition of NULLs; an unpartitioned
table has the one partition `WHOLE`. `jobs/stages/load/curated_sums.py` sums the same columns of curated, so the two can
be compared. The hash of a row is that of `fingerprints`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.bigquery import fingerprints
from connectors.bigquery.columns import BATCH_COLUMN, DELETED_COLUMN, WarehouseColumn
from connectors.bigquery.partitions import Partitioning, every_row
from connectors.bigquery.statements import Target, quoted
from connectors.versions import columns_of

WHOLE = 0
"""The number of the one partition of an unpartitioned table."""

PartitionNumber = int | None


@dataclass(frozen=True)
class PartitionSum:
    """Live rows of a partition, and the sum of the hashes of their keys and versions."""

    live: int = 0
    total: int = 0


PartitionSums = Mapping[PartitionNumber, PartitionSum]


def summed_columns(target: Target, primary_key: Sequence[str]) -> tuple[WarehouseColumn, ...]:
    """Returns the columns that are summed: key, versions and batch number, each once.

    Args:
        primary_key: names in BigQuery of the key of a dataset that is not merged by it.
    """
    names = dict.fromkeys([*(target.key or primary_key), *columns_of(target.versions), BATCH_COLUMN])
    by_name = {column.name: column for column in target.columns}
    return tuple(by_name[name] for name in names if name in by_name)


def sums_query(target: Target, columns: Sequence[WarehouseColumn], types: Mapping[str, str], within: str | None) -> str:
    """Returns a query with one row per partition that has live rows: its name, the live rows, and the sums of
    `fingerprints.sums`.

    Only the summed columns and the partition column are read.

    Args:
        types: GoogleSQL's word for the type of each column of the table, as it is now. A user may have made one wider.
        within: a condition on T that leaves out partitions that are not needed. It may let others through.
    """
    by = target.partitioning
    name = by.name_of(f"T.{quoted(by.column)}") if by else str(WHOLE)
    conditions = [] if within is None else [f"({within})"]
    if within is None and by and by.filter_required:
        conditions.append(every_row(f"T.{quoted(by.column)}"))
    if any(column.name == DELETED_COLUMN for column in target.columns):
        conditions.append(f"T.{quoted(DELETED_COLUMN)} IS NULL")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    hashed = fingerprints.row_hash((_as_in_the_lake(column, types), column.type) for column in columns)
    return (
        f"SELECT name, COUNT(*), {', '.join(fingerprints.sums('row_hash'))} "
        f"FROM (SELECT {name} AS name, {hashed} AS row_hash FROM {target.table} AS T{where}) GROUP BY name"
    )


def sums_of(rows: Sequence[tuple[Any, ...]], partitioning: Partitioning | None) -> dict[PartitionNumber, PartitionSum]:
    """Returns the sums of each partition, from the rows of `sums_query`."""
    sums = {}
    for name, live, *parts in rows:
        number = name if partitioning is None or name is None else partitioning.number_of(name)
        sums[number] = PartitionSum(int(live), fingerprints.total([int(part) for part in parts]))
    return sums


def differing_partitions(
    ours: PartitionSums, theirs: PartitionSums, asked: Collection[PartitionNumber] | None
) -> list[PartitionNumber]:
    """Returns the partitions in which the two differ, in order, NULL first; `asked` leaves others out."""
    numbers = {*ours, *theirs} if asked is None else set(asked)
    nothing = PartitionSum()
    differing = [number for number in numbers if ours.get(number, nothing) != theirs.get(number, nothing)]
    return sorted(differing, key=lambda number: (number is not None, number))


def _as_in_the_lake(column: WarehouseColumn, types: Mapping[str, str]) -> str:
    name = f"T.{quoted(column.name)}"
    same = types.get(column.name, column.type) == column.type
    # A value that does not fit the lake's type did not come from the lake: it becomes NULL, and the sums differ.
    return name if same else f"SAFE_CAST({name} AS {column.type})"
