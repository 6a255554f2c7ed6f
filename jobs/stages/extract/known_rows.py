"""Leaves out, and counts, rows that were read again and that an earlier batch holds.

Rows are read again in three cases: a read looks back before its window, it takes in rows that no window holds, or it
reads the whole table to move only the differences. A row is known if the current state (for `append`: the log) holds
one that is equal in every column, or if a published run set the same record aside. A row that changed without moving
its cursor differs, so it is brought in.

If a dataset has masks, quarantine keeps no record of a row that cannot be decoded. Such a row is known by its place and
reason, if its key is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from jobs.lake.batch_log import PublishedBatch, published_batches
from jobs.lake.catalog import find_table
from jobs.lake.names import CURATED, RAW
from jobs.lake.quarantine import Counted
from jobs.lake.schema import BATCH_COLUMN, DELETED_COLUMN, WITHOUT_NULLS, quoted, table_name
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.row_identity import place_of

_OTHER, _OTHER_REASON = "_other", "_other_reason"
_WITNESS_SLICE = -(2**31)


class KnownRows:
    """Leaves the rows that earlier batches hold out of one append.

    Args:
        cursor: the column whose values bound the read; None if the read begins anywhere.
        slices: ids of the slices that are appended.
    """

    def __init__(
        self,
        run: DatasetRun,
        cursor: str | None,
        columns: Sequence[Column],
        slices: Sequence[int],
    ) -> None:
        self._run = run
        self._cursor = cursor
        assert run.dataset.source is not None, "only a source is read again"
        self._reread_from = run.dataset.source.overlap_start
        self._null_cursors = run.dataset.source.null_cursors is not None
        self._columns = tuple(columns)
        self._slices = tuple(slices)
        self._read, self._new = Observation(), Observation()

    def unknown(self, rows: DataFrame) -> DataFrame:
        """Return those of `rows` that no earlier batch holds; `rows` are as an attempt writes them."""
        new = self._not_set_aside(self._not_published(self._observed(rows)))
        return self._without_witness(new).observe(self._new, *self._count_by_slice())

    def not_set_aside(self, rows: DataFrame) -> DataFrame:
        """Return those of `rows` that no published run has set aside, without comparing them with earlier batches."""
        new = self._not_set_aside(self._observed(rows))
        return self._without_witness(new).observe(self._new, *self._count_by_slice())

    def stats(self) -> Mapping[int, Mapping[str, int]]:
        """Return, by slice, what a `SliceStats` records of the rows left out. Call it once the rows are written."""
        read, new = self._read.get, self._new.get
        return {
            slice_id: {
                f"known_{kind}": int(read[f"{kind}_{slice_id}"]) - int(new[f"{kind}_{slice_id}"])
                for kind in ("rows", "rejected_rows")
            }
            for slice_id in self._slices
        }

    def _observed(self, rows: DataFrame) -> DataFrame:
        """Count the rows and add a witness: a row that no table holds. Without it, Spark optimizes an empty side of a
        join away, and with it the counts that were to be observed there."""
        read = rows.observe(self._read, *self._count_by_slice())
        values = [
            F.lit(_WITNESS_SLICE if field.name == SLICE_COLUMN else None).cast(field.dataType).alias(field.name)
            for field in rows.schema
        ]
        return read.unionByName(self._run.spark.range(1).select(*values))

    def _without_witness(self, rows: DataFrame) -> DataFrame:
        return rows.where(F.col(SLICE_COLUMN) != _WITNESS_SLICE)

    def _not_published(self, rows: DataFrame) -> DataFrame:
        if self._run.dataset.base_snapshot_id is None:
            return rows
        spark, name = self._run.spark, self._run.name
        # Raw may hold an older version: a row that changed back to that version has changed all the same.
        current = self._run.spec.write_disposition == "merge"
        # The log before this batch, by number: the snapshot that the plan builds on may have expired since.
        earlier = F.col(BATCH_COLUMN) < self._run.dataset.batch
        published = (
            spark.table(table_name(spark, CURATED, name))
            if current
            else spark.table(table_name(spark, RAW, name)).where(earlier)
        )
        if DELETED_COLUMN in published.columns:
            # A row that is marked as deleted and has come back is not known.
            published = published.where(F.col(DELETED_COLUMN).isNull())
        if self._reread_from is not None and self._cursor is not None:
            # Iceberg can compare this condition with its files' statistics: it does not open old files.
            types = {column.name: column.spark_type for column in self._columns}
            value = F.col(quoted(self._cursor))
            recent = value >= F.lit(self._reread_from).cast(types[self._cursor])
            # A zero date is NULL in the lake, or text (`zero_dates`).
            zero = value < F.lit("0001") if types[self._cursor] == "string" else F.lit(False)
            published = published.where(recent | value.isNull() | zero if self._null_cursors else recent)
        names = {column.name: f"{_OTHER}{number}" for number, column in enumerate(self._columns)}
        others = published.select(*[F.col(quoted(name)).alias(other) for name, other in names.items()])
        same = [F.col(quoted(name)).eqNullSafe(F.col(other)) for name, other in names.items()]
        return rows.join(others, reduce(and_, same), "left_anti")

    def _not_set_aside(self, rows: DataFrame) -> DataFrame:
        # Rows that a run set aside count only if the run was published.
        log = published_batches(find_table(self._run.context.catalog, RAW, self._run.name))
        rows = self._not_corrected(rows, Counted(batch for batch in log if batch.corrects))
        counted = Counted(batch for batch in log if self._may_meet(batch))
        if not counted:
            return rows
        earlier = counted.rows(self._run.spark, self._run.name)
        records = earlier.select(F.col("record").alias(_OTHER))
        unknown = rows.join(records, F.col(f"{REJECTED_COLUMN}.record") == F.col(_OTHER), "left_anti")
        return self._not_set_aside_without_record(unknown, earlier)

    def _not_set_aside_without_record(self, rows: DataFrame, earlier: DataFrame) -> DataFrame:
        spec = self._run.spec
        key = self._run.dataset.identity.place_columns(spec.primary_key, [column.name for column in self._columns])
        if not spec.mask or not key:
            return rows
        reason, record = F.col(f"{REJECTED_COLUMN}.reason"), F.col(f"{REJECTED_COLUMN}.record")
        # Without a complete key two rows may look the same: such a row is set aside again rather than lost.
        complete = reduce(and_, [F.col(quoted(name)).isNotNull() for name in key])
        place = F.when(reason.isNotNull() & record.isNull() & complete, place_of(key))
        others = earlier.where("record IS NULL").select(
            F.col("place").alias(_OTHER), F.col("reason").alias(_OTHER_REASON)
        )
        return rows.join(others, (place == F.col(_OTHER)) & (reason == F.col(_OTHER_REASON)), "left_anti")

    def _not_corrected(self, rows: DataFrame, corrections: Counted) -> DataFrame:
        """Drop good rows that a correction has set aside: BigQuery would refuse them again, if they are read again
        unchanged."""
        if not corrections:
            return rows
        spark, name = self._run.spark, self._run.name
        own = {column.name for column in self._columns} - {DELETED_COLUMN}
        # In the order of raw, as in the record of a correction. NULL columns are in neither record, so a column that
        # was added since makes no difference.
        columns = [column for column in spark.table(table_name(spark, RAW, name)).columns if column in own]
        record = F.to_json(F.struct(*[F.col(quoted(column)) for column in columns]), WITHOUT_NULLS)
        return rows.join(
            corrections.rows(spark, name).select(F.col("record").alias(_OTHER)), record == F.col(_OTHER), "left_anti"
        )

    def _may_meet(self, batch: PublishedBatch) -> bool:
        """Whether a batch's window may hold rows of this read."""
        if self._reread_from is None or self._null_cursors or batch.window_end is None:
            return True
        if _is_number(batch.window_end) and _is_number(self._reread_from):
            return int(batch.window_end) > int(self._reread_from)
        return batch.window_end > self._reread_from

    def _count_by_slice(self) -> list[SparkColumn]:
        rejected = F.col(f"{REJECTED_COLUMN}.reason").isNotNull()
        return [
            F.count(F.when((F.col(SLICE_COLUMN) == slice_id) & condition, 1)).alias(f"{kind}_{slice_id}")
            for slice_id in self._slices
            for kind, condition in (("rows", F.lit(True)), ("rejected_rows", rejected))
        ]


def _is_number(edge: str) -> bool:
    return edge.removeprefix("-").isdecimal()
