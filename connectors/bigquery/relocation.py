"""All rows of a dataset into a table of another name and layout, and the ledger with them, in one transaction.

BigQuery changes no table's partitioning in place, and replaces no table by one that is partitioned otherwise ("Cannot
replace a table with a different partitioning spec": by CREATE OR REPLACE, copy and query jobs alike). To drop a table
and rename another leaves a moment, and after a crash any time, in which readers find none. A table of another name
leaves none: the old one stays as it is, and views change from one to the other at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.cloud import bigquery

from connectors.bigquery import statements, transactions
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import WIDER
from connectors.bigquery.cost import check_scanned_bytes
from connectors.bigquery.ledger import Ledger
from connectors.bigquery.partitions import every_row
from connectors.bigquery.statements import Target
from connectors.bigquery.tables import column_types, find_table, relax, required_columns
from connectors.bigquery.transactions import Entry
from connectors.errors import ConfigurationError, LoadRefused, ObjectNotFound


@dataclass(frozen=True)
class Relocation:
    """The rows of a dataset are in the table `came_from`, as the ledger's `entry` says, and shall be in `to`."""

    dataset: str
    came_from: str
    to: str
    entry: Entry


def relocate(
    warehouse: Warehouse, ledger: Ledger, target: Target, move: Relocation, most_bytes: int | None = None
) -> tuple[Entry, int]:
    """Copies the rows into `target`, which is an existing empty table, and names it in the ledger. Returns the entry
    then, and how many rows there are.

    A crash before the transaction leaves an empty table, which the next attempt fills; another loader that was faster
    has done the work.

    Raises:
        ObjectNotFound: the table they are in is gone.
        ConfigurationError: it was made after the rows were loaded, has columns the new one lacks, or holds in another
            type; or the new one has rows.
        LoadRefused: the copy would scan more than `most_bytes`, or BigQuery refuses it. Nothing was copied.
    """
    old, new = find_table(warehouse, move.came_from), find_table(warehouse, move.to)
    assert new is not None, "the table is made before rows are copied into it"
    if old is None:
        raise ObjectNotFound(
            f"the batches up to {move.entry.batch} are in {move.came_from}, which is gone from BigQuery",
            fix=f"Restore it from BigQuery's time travel. {ledger.way_afresh(move.to)}",
        )
    ledger.check_age(old, move.came_from, move.entry)
    _check_columns(old, new, move)
    # Where the old table came to hold NULLs the new one may not refuse them.
    relaxed = sorted(required_columns(new) - required_columns(old))
    if relaxed:
        relax(warehouse, move.to, relaxed)
    source = statements.quoted(warehouse.address.project, *move.came_from.split("."))
    columns, where = [field.name for field in old.schema], _every_row(old)
    size = warehouse.estimate(statements.copy_rows(target, source, columns, where))
    warehouse.cost.estimated += size
    check_scanned_bytes(most_bytes, size, f"copying {move.came_from} to {move.to}", "bigquery.max_bytes_billed")
    script = transactions.relocation(
        ledger.quoted,
        expected=move.entry,
        target=target,
        to=move.to,
        source=source,
        columns=columns,
        where=where,
    )
    mark = hashlib.sha256(f"{move.came_from} {move.to} {new.created}".encode()).hexdigest()[:12]
    try:
        base_id = f"lakeferry_{move.dataset}_{move.entry.batch}_{mark}_relocate"
        entry = ledger.relocate(script, base_id, move.to, most_bytes)
    except LoadRefused as refused:
        if transactions.NOT_EMPTY in refused.problem:
            raise ConfigurationError(
                f"{move.to} holds rows already, which are not those of {move.came_from}",
                fix="Name a bigquery.table that is not there yet, or see whose rows those are and drop them",
            ) from None
        raise
    return entry, int(warehouse.query(statements.count(target))[0][0])


def _check_columns(old: bigquery.Table, new: bigquery.Table, move: Relocation) -> None:
    has = column_types(new)
    for name, kind in column_types(old).items():
        if name not in has:
            raise ConfigurationError(
                f"{move.came_from} has a column {name!r} that the dataset does not have: a copy to {move.to} would "
                "lose it",
                fix=f"ALTER TABLE {move.to} ADD COLUMN it, or drop it from {move.came_from}; then run again",
            )
        if has[name] != kind and has[name] not in WIDER.get(kind, ()):
            raise ConfigurationError(
                f"column {name!r} is {kind} in {move.came_from} and {has[name]} in {move.to}: a copy could alter "
                "values",
                fix=f"Give it the type {kind} in {move.to}, then run again",
            )


def _every_row(table: bigquery.Table) -> str:
    """A condition all rows of the table meet, with the partition column where queries must name it."""
    by_time, by_range = table.time_partitioning, table.range_partitioning
    if not table.require_partition_filter or not (by_time or by_range):
        return "TRUE"
    column = by_range.field if by_range else by_time.field or "_PARTITIONTIME"
    return every_row(statements.quoted(column))
