"""Lookback: rows read again that an earlier batch holds are left out, and counted.

A row is known where raw holds one that is equal in every column, or where a published run set the same
record aside. A row that changed without moving its cursor differs, so it is brought in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from jobs.lake.batches import published_batches
from jobs.lake.branches import RawTable
from jobs.lake.catalog import QUARANTINE, RAW, find_table, open_catalog
from jobs.lake.schema import RUN_COLUMN, quoted, table_name
from jobs.plan_document import DatasetPlan
from jobs.stages import Context

_OTHER = "_other"


class Lookback:
    """Leaves out of one append what earlier batches hold.

    Args:
        versions: the columns that order versions of a key; the first is the cursor.
        slices: ids of the slices that are appended.
    """

    def __init__(
        self,
        context: Context,
        dataset: DatasetPlan,
        versions: Sequence[str],
        columns: Sequence[Column],
        slices: Sequence[int],
    ) -> None:
        self._context = context
        self._dataset = dataset
        self._cursor = versions[0]
        assert dataset.source is not None, "only a source is looked back at"
        self._reread_from = dataset.source.reread_from or ""
        self._columns = tuple(columns)
        self._slices = tuple(slices)
        self._read, self._new = Observation(), Observation()

    def unknown(self, rows: DataFrame) -> DataFrame:
        """Those of `rows` that no earlier batch holds; `rows` are as an attempt writes them."""
        read = rows.observe(self._read, *self._count_by_slice())
        return self._not_set_aside(self._not_in_raw(read)).observe(self._new, *self._count_by_slice())

    def known_rows(self) -> Mapping[int, int]:
        """Rows by slice that were left out; to be asked once the rows are written."""
        read, new = self._read.get, self._new.get
        return {piece: int(read[f"rows_{piece}"]) - int(new[f"rows_{piece}"]) for piece in self._slices}

    def _not_in_raw(self, rows: DataFrame) -> DataFrame:
        base = self._dataset.base_snapshot_id
        assert base is not None, "a position was published with a snapshot"
        types = {column.name: column.spark_type for column in self._columns}
        published = RawTable(self._context.spark, self._dataset.name).rows(base)
        # The condition is one that Iceberg can hold against its files' statistics: old files are not opened.
        start = F.lit(self._reread_from).cast(types[self._cursor])
        published = published.where(F.col(quoted(self._cursor)) >= start)
        names = {column.name: f"{_OTHER}{number}" for number, column in enumerate(self._columns)}
        others = published.select(*[F.col(quoted(name)).alias(other) for name, other in names.items()])
        same = [F.col(quoted(name)).eqNullSafe(F.col(other)) for name, other in names.items()]
        return rows.join(others, reduce(and_, same), "left_anti")

    def _not_set_aside(self, rows: DataFrame) -> DataFrame:
        log = published_batches(find_table(open_catalog(self._context.settings), RAW, self._dataset.name))
        # A run that was never published has set nothing aside that counts.
        runs = [b.run_id for b in log if b.quarantined and (b.window_end is None or b.window_end > self._reread_from)]
        if not runs:
            return rows
        quarantine = self._context.spark.table(table_name(QUARANTINE, self._dataset.name))
        records = quarantine.where(F.col(RUN_COLUMN).isin(runs)).select(F.col("record").alias(_OTHER))
        return rows.join(records, F.col(f"{REJECTED_COLUMN}.record") == F.col(_OTHER), "left_anti")

    def _count_by_slice(self) -> list[SparkColumn]:
        return [F.count(F.when(F.col(SLICE_COLUMN) == piece, 1)).alias(f"rows_{piece}") for piece in self._slices]
