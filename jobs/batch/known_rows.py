"""Rows read again that an earlier batch holds are left out, and counted.

That is so where a read looks back before its window, where it takes in rows that no window holds, and where
the whole table is read and only what differs is to move. A row is known where the current state (of an
`append`: the log) holds one that is equal in every column, or where a published run set the same record
aside. A row that changed without moving its cursor differs, so it is brought in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from jobs.lake.batches import PublishedBatch, published_batches
from jobs.lake.branches import RawTable
from jobs.lake.catalog import CURATED, QUARANTINE, RAW, find_table
from jobs.lake.schema import DELETED_COLUMN, RUN_COLUMN, quoted, table_name
from jobs.plan_document import DatasetPlan
from jobs.stages import Context

_OTHER = "_other"


class KnownRows:
    """Leaves out of one append what earlier batches hold.

    Args:
        cursor: the column whose values the read begins at, if it does not read from anywhere.
        slices: ids of the slices that are appended.
    """

    def __init__(
        self,
        context: Context,
        dataset: DatasetPlan,
        cursor: str | None,
        columns: Sequence[Column],
        slices: Sequence[int],
    ) -> None:
        self._context = context
        self._dataset = dataset
        self._cursor = cursor
        assert dataset.source is not None, "only a source is read again"
        self._reread_from = dataset.source.reread_from
        self._null_cursors = dataset.source.null_cursors is not None
        self._columns = tuple(columns)
        self._slices = tuple(slices)
        self._read, self._new = Observation(), Observation()

    def unknown(self, rows: DataFrame) -> DataFrame:
        """Those of `rows` that no earlier batch holds; `rows` are as an attempt writes them."""
        read = rows.observe(self._read, *self._count_by_slice())
        return self._not_set_aside(self._not_published(read)).observe(self._new, *self._count_by_slice())

    def not_set_aside(self, rows: DataFrame) -> DataFrame:
        """Those of `rows` that no published run has set aside; the earlier batches are not looked at."""
        return self._not_set_aside(rows.observe(self._read, *self._count_by_slice())).observe(
            self._new, *self._count_by_slice()
        )

    def known_rows(self) -> Mapping[int, int]:
        """Rows by slice that were left out; to be asked once the rows are written."""
        read, new = self._read.get, self._new.get
        return {piece: int(read[f"rows_{piece}"]) - int(new[f"rows_{piece}"]) for piece in self._slices}

    def _not_published(self, rows: DataFrame) -> DataFrame:
        base = self._dataset.base_snapshot_id
        if base is None:
            return rows
        spark, name = self._context.spark, self._dataset.name
        # What raw holds may be an older version: a row that changed back to it has changed all the same.
        current = self._context.spec(self._dataset).write_disposition == "merge"
        published = spark.table(table_name(CURATED, name)) if current else RawTable(spark, name).rows(base)
        if DELETED_COLUMN in published.columns:
            # A row that is marked as deleted and is there again is no known one.
            published = published.where(F.col(DELETED_COLUMN).isNull())
        if self._reread_from is not None and self._cursor is not None:
            # A condition that Iceberg can hold against its files' statistics: old files are not opened.
            types = {column.name: column.spark_type for column in self._columns}
            value = F.col(quoted(self._cursor))
            recent = value >= F.lit(self._reread_from).cast(types[self._cursor])
            published = published.where(recent | value.isNull() if self._null_cursors else recent)
        names = {column.name: f"{_OTHER}{number}" for number, column in enumerate(self._columns)}
        # A snapshot of before a column was added lacks it.
        has = set(published.columns)
        others = published.select(
            *[(F.col(quoted(n)) if n in has else F.lit(None)).alias(other) for n, other in names.items()]
        )
        same = [F.col(quoted(name)).eqNullSafe(F.col(other)) for name, other in names.items()]
        return rows.join(others, reduce(and_, same), "left_anti")

    def _not_set_aside(self, rows: DataFrame) -> DataFrame:
        # A run that was never published has set nothing aside that counts.
        log = published_batches(find_table(self._context.catalog, RAW, self._dataset.name))
        runs = [batch.run_id for batch in log if batch.quarantined and self._may_meet(batch)]
        if not runs:
            return rows
        quarantine = self._context.spark.table(table_name(QUARANTINE, self._dataset.name))
        records = quarantine.where(F.col(RUN_COLUMN).isin(runs)).select(F.col("record").alias(_OTHER))
        return rows.join(records, F.col(f"{REJECTED_COLUMN}.record") == F.col(_OTHER), "left_anti")

    def _may_meet(self, batch: PublishedBatch) -> bool:
        """Whether a batch's window may hold rows of this read."""
        if self._reread_from is None or self._null_cursors or batch.window_end is None:
            return True
        return batch.window_end > self._reread_from

    def _count_by_slice(self) -> list[SparkColumn]:
        return [F.count(F.when(F.col(SLICE_COLUMN) == piece, 1)).alias(f"rows_{piece}") for piece in self._slices]
