"""Rows of a plan's slices as a Spark DataFrame: each partition reads its slices one after the other.

If a connection breaks in the middle of a slice, Spark repeats the partition. So a partition with several slices first
reads each slice whole, and repeats only a slice whose connection breaks. A single slice is passed on as it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from connectors.base import (
    FINGERPRINT_COLUMN,
    REJECTED_COLUMN,
    REJECTED_TYPE,
    SLICE_COLUMN,
    SOURCE_ROWS_COLUMN,
    Column,
    FingerprintOf,
    SliceReader,
)
from connectors.errors import ServiceUnavailable
from connectors.mysql.sql import quote_identifier
from connectors.spark_errors import errors_for_the_driver

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_ATTEMPTS = 4
"""How often a slice is read if its connection breaks in the middle, before the partition fails."""

_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


def read_slices(
    spark: SparkSession,
    reader: SliceReader,
    columns: Sequence[Column],
    slice_ids: Sequence[int],
    partitions: int,
    fingerprint: FingerprintOf,
) -> DataFrame:
    """Returns the columns in order, then `_slice`, `_source_rows`, `_rejected`, and `_fingerprint` if it is requested.
    `partitions` is how many partitions read in parallel."""
    fields = [f"{quote_identifier(column.name)} {column.spark_type}" for column in columns]
    fields += [f"{SLICE_COLUMN} int", f"{SOURCE_ROWS_COLUMN} bigint", f"{REJECTED_COLUMN} {REJECTED_TYPE}"]
    if fingerprint != "nothing":
        fields.append(f"{FINGERPRINT_COLUMN} {'bigint' if fingerprint == 'row' else 'string'}")
    schema = ", ".join(fields)
    if not slice_ids:
        return spark.createDataFrame([], schema)
    ids, width = tuple(slice_ids), len(columns)

    def read_in_task(places: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return rows_of_slices(reader, ids, width, places)

    return spark.range(0, len(ids), 1, min(partitions, len(ids))).mapInArrow(read_in_task, schema)


def rows_of_slices(
    reader: SliceReader, slice_ids: Sequence[int], columns: int, places: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Does a task's work: yields the rows of the slices at these places of `slice_ids`. It imports no PySpark."""
    with errors_for_the_driver():
        for batch in places:
            here = [slice_ids[place] for place in batch.column(0).to_pylist()]
            for slice_id in here:
                read = _rows_whole if len(here) > 1 else _rows_at_once
                yield from read(reader, slice_id, columns)


def _rows_at_once(reader: SliceReader, slice_id: int, columns: int) -> Iterator[pa.RecordBatch]:
    with reader.open(slice_id) as slice_:
        for rows in slice_.batches:
            yield _marked(rows, columns, slice_id, slice_.source_rows)


def _rows_whole(reader: SliceReader, slice_id: int, columns: int) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a slice once all of them have arrived."""
    for attempt in range(1, _ATTEMPTS + 1):
        # Keep them compressed in memory: values that are to be masked must not be written to a disk.
        kept = pa.BufferOutputStream()
        with reader.open(slice_id) as slice_:
            try:
                with pa.ipc.new_stream(kept, reader.schema, options=_PACKED) as stream:
                    for rows in slice_.batches:
                        stream.write_batch(rows)
            except ServiceUnavailable:
                if attempt == _ATTEMPTS:
                    raise
                continue
        for rows in pa.ipc.open_stream(kept.getvalue()):
            yield _marked(rows, columns, slice_id, slice_.source_rows)
        return


def _marked(rows: pa.RecordBatch, columns: int, slice_id: int, source_rows: int | None) -> pa.RecordBatch:
    """Returns a batch with its slice and the slice's count, between the columns and what else the batch has."""
    counted = (
        pa.nulls(len(rows), pa.int64())
        if source_rows is None
        else pa.array(np.full(len(rows), source_rows, dtype=np.int64))
    )
    added = {SLICE_COLUMN: pa.array(np.full(len(rows), slice_id, dtype=np.int32)), SOURCE_ROWS_COLUMN: counted}
    arrays, names = rows.columns, rows.schema.names
    return pa.RecordBatch.from_arrays(
        [*arrays[:columns], *added.values(), *arrays[columns:]], names=[*names[:columns], *added, *names[columns:]]
    )
