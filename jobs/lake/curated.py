"""Curated tables: the current state of a dataset, brought up to the published log batch by batch.

How far a curated table has come is a property of its own snapshots, committed with the rows. A merge
takes one row a key, the newest version, and changes a row only for a newer one: replays and backfills
never bring back the old. A row that is marked as deleted gives way to any of a later batch that is not:
it was there again when that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from connectors.errors import LakeMoved
from jobs.crash import crash_point
from jobs.lake.batches import CONSUMED, PublishedBatch, consumed_batch, published_batches
from jobs.lake.branches import is_conflict
from jobs.lake.catalog import CURATED, RAW, find_table
from jobs.lake.schema import BATCH_COLUMN, DELETED_COLUMN, quoted, table_name
from jobs.lake.whole_state import write_whole_state
from jobs.spark import session_with_properties

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TRIES = 5
_RANK = "_rank"


def catch_up(
    spark: Callable[[], SparkSession],
    catalog: Catalog,
    dataset: str,
    write_disposition: str,
    *,
    keys: Sequence[str],
    versions: Sequence[str],
    partition_by: str | None,
) -> int:
    """Bring a curated table up to `main` of its raw table; returns how many batches it took in.

    Args:
        spark: opens the session; not called where there is nothing to do.
        keys: primary key, or the identity columns of an append.
        versions: columns that order versions of a key; `_batch` follows them.
        partition_by: partition column, for `overwrite_partitions`.

    Raises:
        LakeMoved: other runs kept changing the table at the same time.
    """
    taken = conflicts = 0
    while conflicts < TRIES:
        curated = find_table(catalog, CURATED, dataset)
        consumed = consumed_batch(curated)
        pending = published_batches(find_table(catalog, RAW, dataset), after=consumed)
        if not pending:
            return taken
        # A row that came back may carry an older version than its tombstone: their batches say which is later.
        one_by_one = curated is not None and DELETED_COLUMN in curated.schema().column_names
        now = pending[:1] if one_by_one else pending
        crash_point("curated.read", dataset)
        try:
            _take_in(spark(), dataset, write_disposition, now, curated, keys, versions, partition_by)
        except Py4JJavaError as error:
            # Another run's merge got in between: what it took in is not ours any more.
            if is_conflict(error):
                conflicts += 1
                continue
            raise
        taken += len(now)
        if len(now) == len(pending):
            # What was published meanwhile is taken in by the run that published it.
            return taken
    raise LakeMoved(
        f"curated.{dataset} changed {TRIES} times while this run merged into it",
        fix="Run it again when fewer runs are under way",
    )


def _take_in(
    spark: SparkSession,
    dataset: str,
    write_disposition: str,
    pending: Sequence[PublishedBatch],
    curated: Table | None,
    keys: Sequence[str],
    versions: Sequence[str],
    partition_by: str | None,
) -> None:
    from pyspark.sql import functions as F

    snapshot = curated.current_snapshot() if curated else None
    snapshot_id = snapshot.snapshot_id if snapshot else None
    one_row_a_key = len(pending) == 1 and pending[0].one_row_a_key
    first_rows = snapshot is None and one_row_a_key and write_disposition in ("merge", "append")
    whole = write_disposition == "replace" or first_rows
    done = {CONSUMED: str(pending[-1].batch)}
    if whole and curated is not None and write_whole_state(spark, dataset, pending[-1], curated, done):
        return
    name = table_name(CURATED, dataset)
    columns = spark.table(name).columns
    first, last = pending[0].batch, pending[-1].batch
    rows = spark.table(table_name(RAW, dataset)).where(F.col(BATCH_COLUMN).between(first, last))
    rows = rows.select(*[F.col(quoted(column)) for column in columns])
    if write_disposition == "replace":
        _overwrite(rows.where(F.col(BATCH_COLUMN) == last), name, F.lit(True), done, snapshot_id)
    elif write_disposition == "overwrite_partitions":
        assert partition_by is not None, "the spec requires partition_by"
        newest = {partition: batch.batch for batch in pending for partition in batch.partitions or ()}
        wanted = F.lit(False)
        for partition, batch in newest.items():
            wanted = wanted | (
                (F.col(quoted(partition_by)) == F.lit(partition).cast("date")) & (F.col(BATCH_COLUMN) == batch)
            )
        touched = F.col(quoted(partition_by)).isin([F.lit(partition).cast("date") for partition in newest])
        _overwrite(rows.where(wanted), name, touched, done, snapshot_id)
    else:
        incoming = (
            _rows_of(dataset, columns, first, last)
            if one_row_a_key
            else _one_row_a_key(dataset, columns, keys, versions, first, last)
        )
        if snapshot_id is None:
            # Nothing is there yet: the whole state is what is pending.
            _overwrite(spark.sql(incoming), name, F.lit(True), done, None)
        else:
            merge = _merge(name, incoming, columns, keys, versions, insert_only=write_disposition == "append")
            session_with_properties(spark, done).sql(merge)


def _rows_of(dataset: str, columns: Sequence[str], first: int, last: int) -> str:
    """A query of all rows of these batches."""
    named = ", ".join(quoted(column) for column in columns)
    return f"SELECT {named} FROM {table_name(RAW, dataset)} WHERE {BATCH_COLUMN} BETWEEN {int(first)} AND {int(last)}"


def _one_row_a_key(
    dataset: str, columns: Sequence[str], keys: Sequence[str], versions: Sequence[str], first: int, last: int
) -> str:
    """A query of the newest version of every key in these batches."""
    named = ", ".join(quoted(column) for column in columns)
    partition = ", ".join(quoted(key) for key in keys)
    order = ", ".join(f"{quoted(column)} DESC NULLS LAST" for column in [*versions, BATCH_COLUMN])
    return (
        f"SELECT {named} FROM (SELECT *, row_number() OVER (PARTITION BY {partition} ORDER BY {order}) AS {_RANK}"
        f" FROM {table_name(RAW, dataset)} WHERE {BATCH_COLUMN} BETWEEN {int(first)} AND {int(last)}) WHERE {_RANK} = 1"
    )


def _merge(
    name: str, incoming: str, columns: Sequence[str], keys: Sequence[str], versions: Sequence[str], *, insert_only: bool
) -> str:
    # The query stands in the statement: Spark 4.1 cannot plan a MERGE from a view over an Iceberg table.
    on = " AND ".join(f"t.{quoted(key)} <=> s.{quoted(key)}" for key in keys)
    values = ", ".join(f"s.{quoted(column)}" for column in columns)
    named = ", ".join(quoted(column) for column in columns)
    update = ""
    if not insert_only:
        order = [*versions, BATCH_COLUMN]
        ours = ", ".join(f"s.{quoted(column)}" for column in order)
        theirs = ", ".join(f"t.{quoted(column)}" for column in order)
        assignments = ", ".join(f"t.{quoted(column)} = s.{quoted(column)}" for column in columns)
        # Structs compare field by field, NULL before any value.
        later = f"struct({ours}) > struct({theirs})"
        if DELETED_COLUMN in columns:
            back = f"t.{DELETED_COLUMN} IS NOT NULL AND s.{DELETED_COLUMN} IS NULL"
            later = f"({later} OR ({back} AND s.{BATCH_COLUMN} > t.{BATCH_COLUMN}))"
        update = f" WHEN MATCHED AND {later} THEN UPDATE SET {assignments}"
    return (
        f"MERGE INTO {name} t USING ({incoming}) s ON {on}{update}"
        f" WHEN NOT MATCHED THEN INSERT ({named}) VALUES ({values})"
    )


def _overwrite(
    rows: DataFrame, name: str, touched: object, properties: dict[str, str], snapshot_id: int | None
) -> None:
    writer = rows.writeTo(name).option("isolation-level", "serializable")
    if snapshot_id is not None:
        writer = writer.option("validate-from-snapshot-id", str(snapshot_id))
    for key, value in properties.items():
        writer = writer.option(f"snapshot-property.{key}", value)
    writer.overwrite(touched)  # type: ignore[arg-type]
