"""After a load: does the table in BigQuery hold what curated holds?

Live rows, and a sum over their keys and versions, are compared per partition: for those that the loaded batches
touched, and for all in the first load of a day (UTC). Staging and the ledger prove what goes into the table.
This proves what is in it, whoever changed it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.cloud import bigquery
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from connectors.bigquery import comparison
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import WarehouseColumn, warehouse_name
from connectors.bigquery.comparison import PartitionNumber, PartitionSum
from connectors.bigquery.cost import told
from connectors.bigquery.ledger import Ledger
from connectors.bigquery.partitions import Partitioning
from connectors.bigquery.statements import Target, quoted
from connectors.bigquery.tables import column_types, find_table
from connectors.bigquery.transactions import Entry
from connectors.errors import TargetDiffers
from jobs.curated_sums import partition_sums
from jobs.lake.batches import CONSUMED, CONSUMED_TABLE, History, consumed, properties_of
from jobs.lake.catalog import find_table as find_lake_table
from jobs.lake.names import CURATED
from jobs.spec import DatasetSpec

MOST_NAMED = 5
"""Partitions a message names."""
EXPIRY_MARGIN = timedelta(days=1)
"""A partition that BigQuery is about to drop is not compared: it may be gone from one moment to the next."""


@dataclass(frozen=True)
class Comparison:
    """What was compared: `partitions` of the table that have live rows on either side, `rows` of them in curated.
    `skipped` says why nothing was."""

    partitions: int = 0
    rows: int = 0
    whole: bool = False
    skipped: str | None = None


def first_of_day(before: Entry, now: datetime | None = None) -> bool:
    """Whether the last load before this one was on an earlier day (UTC), or there was none."""
    return (
        not before.batch
        or before.loaded_at is None
        or before.loaded_at.astimezone(UTC).date() < (now or datetime.now(UTC)).date()
    )


def compare_target(
    dataset: DatasetSpec,
    target: Target,
    warehouse: Warehouse,
    ledger: Ledger,
    catalog: Catalog,
    *,
    loaded: Entry,
    asked: Collection[PartitionNumber] | None,
    most_bytes: int | None,
) -> Comparison:
    """Compare the table with curated as of the batch that the ledger names.

    The cost is a scan of key, version and partition columns, of the asked partitions, on both sides.

    Args:
        loaded: the ledger's row after the load.
        asked: partitions to compare; None: all. Those that BigQuery may have expired are left out.
        most_bytes: what the query may scan. Beyond that nothing is compared: the batch is in, and stays in.

    Raises:
        TargetDiffers: the two differ; names the partitions.
    """
    curated = find_lake_table(catalog, CURATED, dataset.name)
    snapshot_id = _snapshot_at(curated, loaded)
    if curated is None or snapshot_id is None:
        return Comparison(skipped=f"curated.{dataset.name} has no snapshot of batch {loaded.batch}")
    table = find_table(warehouse, dataset.bigquery.table)
    if table is None:
        raise TargetDiffers(f"table {dataset.bigquery.table} is gone from BigQuery", fix=_fix(dataset, ledger))
    by = _partition_column(target)
    columns = comparison.summed_columns(target, [warehouse_name(name) for name in dataset.primary_key])
    lacking = [
        c.lake_name for c in [*columns, *([by] if by else [])] if c.lake_name not in curated.schema().column_names
    ]
    if lacking:
        return Comparison(skipped=f"curated.{dataset.name} has no column {', '.join(lacking)}")
    within = None
    if asked is not None and target.partitioning is not None:
        within = target.partitioning.scan_condition(
            [_name(target.partitioning, number) for number in asked], f"T.{quoted(target.partitioning.column)}"
        )
        if within is None:
            return Comparison()
    query = comparison.sums_query(target, columns, _types(table, target), within)
    size = warehouse.estimate(query)
    if most_bytes is not None and size > most_bytes:
        return Comparison(skipped=f"it would scan {told(size)}, the limit is {told(most_bytes)}")
    theirs = comparison.sums_of(warehouse.query(query, most_bytes), target.partitioning)
    ours = partition_sums(curated, snapshot_id, columns, by, target.partitioning, asked)
    now = ledger.look()
    if now is None or (now.batch, now.table_uuid) != (loaded.batch, loaded.table_uuid):
        return Comparison(skipped="another run loaded a batch meanwhile, and compares it")
    differing = [
        number
        for number in comparison.differing_partitions(ours, theirs, asked)
        if not _may_be_expired(number, target.partitioning, table)
    ]
    if differing:
        raise TargetDiffers(
            f"{dataset.bigquery.table} is not what curated.{dataset.name} holds after batch {loaded.batch}: "
            f"{_named(differing, ours, theirs, target.partitioning)}. Batch {loaded.batch} is loaded",
            fix=_fix(dataset, ledger),
        )
    numbers = {*ours, *theirs} if asked is None else {*ours, *theirs} & set(asked)
    rows = sum(ours[number].live for number in numbers if number in ours)
    return Comparison(len(numbers), rows, whole=asked is None)


def _snapshot_at(curated: Table | None, loaded: Entry) -> int | None:
    """A snapshot of curated that holds the batches up to the ledger's and no later one; None without one."""
    at = consumed(curated)
    if curated is None or at is None or at.raw_uuid not in (None, loaded.table_uuid):
        return None
    if at.batch == loaded.batch:
        return curated.metadata.current_snapshot_id
    for snapshot in History(curated).snapshots:
        properties = properties_of(snapshot)
        if properties.get(CONSUMED) == str(loaded.batch) and properties.get(CONSUMED_TABLE) == loaded.table_uuid:
            return int(snapshot.snapshot_id)
    return None


def _partition_column(target: Target) -> WarehouseColumn | None:
    by = target.partitioning
    return next((column for column in target.columns if by is not None and column.name == by.column), None)


def _types(table: bigquery.Table, target: Target) -> Mapping[str, str]:
    types = column_types(table)
    return {column.name: types.get(column.name.lower(), column.type) for column in target.columns}


def _name(partitioning: Partitioning, number: PartitionNumber) -> datetime | int | None:
    if number is None or partitioning.integers is not None:
        return number
    return partitioning.moment(number)


def _may_be_expired(number: PartitionNumber, partitioning: Partitioning | None, table: bigquery.Table) -> bool:
    expiration_ms = table.time_partitioning.expiration_ms if table.time_partitioning else None
    if expiration_ms is None or partitioning is None:
        return False
    if number is None:
        return True
    begin = partitioning.moment(number).replace(tzinfo=UTC)
    return begin + timedelta(milliseconds=int(expiration_ms)) <= datetime.now(UTC) + EXPIRY_MARGIN


def _named(
    differing: Sequence[PartitionNumber],
    ours: comparison.PartitionSums,
    theirs: comparison.PartitionSums,
    partitioning: Partitioning | None,
) -> str:
    nothing = PartitionSum()
    sentences = [
        _difference(_label(number, partitioning), ours.get(number, nothing), theirs.get(number, nothing))
        for number in differing[:MOST_NAMED]
    ]
    more = len(differing) - MOST_NAMED
    return "; ".join(sentences) + (f"; and {more} more partitions" if more > 0 else "")


def _difference(label: str, ours: PartitionSum, theirs: PartitionSum) -> str:
    if ours.live == theirs.live:
        return f"{label} has {theirs.live} live rows as curated has, with other keys or versions"
    return f"{label} has {theirs.live} live rows, curated has {ours.live}"


def _label(number: PartitionNumber, partitioning: Partitioning | None) -> str:
    if partitioning is None:
        return "the table"
    return f"partition {'NULL' if number is None else partitioning.label(number)}"


def _fix(dataset: DatasetSpec, ledger: Ledger) -> str:
    return (
        "Was the table changed by hand, restore it from BigQuery's time travel. "
        f"{ledger.way_afresh(dataset.bigquery.table)}"
    )
