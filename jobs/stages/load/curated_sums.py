"""Sums what curated holds, partition by partition, as `connectors/bigquery/comparison.py` has BigQuery sum it.

It reads only keys, versions and the partition column, from the data files that may hold a requested partition: curated
is partitioned by day where the table in BigQuery is partitioned by time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, IsNull
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import DateType, NestedField, PrimitiveType

from connectors.bigquery.arrow_fingerprints import HALF_BITS, halves, row_hashes
from connectors.bigquery.columns import DELETED_COLUMN, WarehouseColumn
from connectors.bigquery.comparison import WHOLE, PartitionNumber, PartitionSum
from connectors.bigquery.partitions import Partitioning
from jobs.lake.row_counts import reading_files
from jobs.stages.load.transport_files import plain, texts_of_decimals

_HASHED_ROWS = 50_000
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_HOUR_US = 3_600_000_000
_DAY_HOURS = 24


def schema_at(curated: Table, snapshot: Snapshot) -> Schema:
    """Return the columns that a snapshot has: the table may have got other ones since."""
    if snapshot.schema_id is None:
        return curated.schema()
    return curated.schemas().get(snapshot.schema_id, curated.schema())


class CuratedSums:
    """Sums the live rows of a snapshot of curated. `rows` is how many rows are read at most.

    Args:
        columns: the columns that are summed.
        by: the column by which the table in BigQuery is partitioned.
        asked: the partitions wanted; None: all.

    Raises:
        LakeAltered, ServiceUnavailable: see `read`.
    """

    def __init__(
        self,
        curated: Table,
        snapshot: Snapshot,
        columns: Sequence[WarehouseColumn],
        by: WarehouseColumn | None,
        partitioning: Partitioning | None,
        asked: Collection[PartitionNumber] | None,
    ) -> None:
        self._curated = curated
        self._what = f"live rows at snapshot {snapshot.snapshot_id}"
        self._columns = columns
        self._by = by
        self._partitioning = partitioning
        schema = schema_at(curated, snapshot)
        self._names = list(dict.fromkeys([*(c.lake_name for c in columns), *([by.lake_name] if by else [])]))
        live: BooleanExpression = AlwaysTrue()
        if DELETED_COLUMN in schema.column_names:
            live = IsNull(term=DELETED_COLUMN)
        scan = curated.scan(row_filter=live, selected_fields=tuple(self._names), snapshot_id=snapshot.snapshot_id)
        self._reader = ArrowScan(
            table_metadata=curated.metadata,
            io=curated.io,
            projected_schema=scan.projection(),
            row_filter=scan.row_filter,
        )
        wanted = None
        if asked is not None and by is not None and partitioning is not None:
            wanted = _Wanted(schema.find_field(by.lake_name), partitioning, asked)
        with reading_files(curated, self._what):
            self._tasks = [task for task in scan.plan_files() if wanted is None or wanted.may_be_in(task.file)]
        self.rows = sum(task.file.record_count for task in self._tasks)

    def read(self) -> dict[PartitionNumber, PartitionSum]:
        """Return the sums by partition, perhaps also of some not asked for. One data file is in memory at a time.

        Raises:
            LakeAltered: a data file is gone.
            ServiceUnavailable: a data file cannot be read.
        """
        live: dict[PartitionNumber, int] = defaultdict(int)
        totals: dict[PartitionNumber, int] = defaultdict(int)
        kinds = [column.type for column in self._columns]
        with reading_files(self._curated, self._what):
            for rows in self._live_rows():
                for part in rows.to_batches(max_chunksize=_HASHED_ROWS):
                    numbers = _numbers(part, self._by, self._partitioning)
                    above, below = halves(row_hashes(part.select([c.lake_name for c in self._columns]), kinds))
                    summed = pa.table({"number": numbers, "above": above, "below": below}).group_by("number")
                    for row in summed.aggregate([("above", "sum"), ("below", "sum"), ([], "count_all")]).to_pylist():
                        live[row["number"]] += row["count_all"]
                        totals[row["number"]] += (row["above_sum"] << HALF_BITS) + row["below_sum"]
        return {number: PartitionSum(count, totals[number]) for number, count in live.items()}

    def _live_rows(self) -> Iterator[pa.Table]:
        for task in self._tasks:
            for batch in self._reader.to_record_batches([task]):
                if batch.num_rows:
                    yield plain(texts_of_decimals(pa.Table.from_batches([batch]).select(self._names), self._columns))


class _Wanted:
    """Decides by a data file's metrics whether it may hold rows of the requested partitions.

    A filter of the scan would do the same, but PyIceberg cannot compare a file whose partition is NULL with a bound.
    """

    def __init__(self, field: NestedField, partitioning: Partitioning, asked: Collection[PartitionNumber]) -> None:
        self._field = field
        self._partitioning = partitioning
        self._null = None in asked
        self._numbers = sorted(number for number in asked if number is not None)

    def may_be_in(self, file: DataFile) -> bool:
        nulls, rows = file.null_value_counts or {}, file.record_count
        null_rows = nulls.get(self._field.field_id)
        if self._null and null_rows != 0:
            return True
        lower = (file.lower_bounds or {}).get(self._field.field_id)
        upper = (file.upper_bounds or {}).get(self._field.field_id)
        if lower is None or upper is None:
            return null_rows is None or null_rows < rows
        place = bisect_left(self._numbers, self._number(lower))
        return place < len(self._numbers) and self._numbers[place] <= self._number(upper)

    def _number(self, bound: bytes) -> int:
        kind = self._field.field_type
        assert isinstance(kind, PrimitiveType), "a partition column holds plain values"
        # A date is a number of days since 1970, a time a number of microseconds.
        value = int(from_bytes(kind, bound))
        within = self._partitioning.integers
        if within is not None:
            if value < within.start:
                return -1
            return within.partitions if value >= within.end else (value - within.start) // within.interval
        if isinstance(kind, DateType):
            return self._partitioning.number_of(date.fromordinal(value + _EPOCH_DAY))
        return self._partitioning.number_of(_EPOCH + timedelta(microseconds=value))


def _numbers(rows: pa.RecordBatch, by: WarehouseColumn | None, partitioning: Partitioning | None) -> pa.Array:
    """Return the partition number of each row, as `Partitioning.number_of` computes it."""
    if by is None or partitioning is None:
        return pa.repeat(pa.scalar(WHOLE, pa.int64()), rows.num_rows)
    values = rows.column(by.lake_name)
    within = partitioning.integers
    if within is not None:
        values = values.cast(pa.int64())
        number = pc.divide(pc.subtract(values, within.start), within.interval)
        number = pc.if_else(pc.greater_equal(values, within.end), within.partitions, number)
        return pc.if_else(pc.less(values, within.start), -1, number)
    match partitioning.granularity:
        case "YEAR":
            return pc.year(values)
        case "MONTH":
            return pc.add(pc.multiply(pc.year(values), 12), pc.subtract(pc.month(values), 1))
        case "DAY":
            days = values if pa.types.is_date32(values.type) else pc.floor_temporal(values, unit="day")
            return pc.add(days.cast(pa.date32()).cast(pa.int32()).cast(pa.int64()), _EPOCH_DAY)
        case "HOUR":
            hours = pc.floor_temporal(values, unit="hour")
            micros = hours.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
            # Divided exactly, so that hours before 1970 are not rounded up.
            return pc.add(pc.divide(micros, _HOUR_US), _EPOCH_DAY * _DAY_HOURS)
