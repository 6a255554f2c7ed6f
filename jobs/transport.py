"""Rows of one published batch, from the lake to a Parquet file that BigQuery can load."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import EqualTo
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from connectors.base import READ_COLUMNS
from connectors.bigquery.columns import BATCH_COLUMN, RUN_COLUMN, WarehouseColumn, warehouse_columns
from connectors.errors import ServiceUnavailable
from jobs.lake.schema import spark_word
from jobs.transport_hash import TransportHash

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 64 * 1024 * 1024


def columns_of(schema: Schema, parsed: Collection[str] = ()) -> list[WarehouseColumn]:
    """BigQuery's columns for a raw table's: all but those that serve the read, `_run_id` and `_batch` last.

    Args:
        parsed: those that hold JSON for BigQuery to parse.

    Raises:
        UnsupportedType: a column BigQuery cannot hold.
    """
    kept = [field for field in schema.fields if field.name not in READ_COLUMNS]
    kept.sort(key=lambda field: field.name in (RUN_COLUMN, BATCH_COLUMN))
    return warehouse_columns(((field.name, spark_word(field.field_type), field.doc) for field in kept), parsed)


def write_parquet(
    table: Table,
    batch: int,
    columns: Sequence[WarehouseColumn],
    path: Path,
    fingerprint: TransportHash | None = None,
) -> int:
    """Write the rows of a batch as they stand on `main`; return how many. `fingerprint` takes in each of them.

    One data file of the lake is in memory at a time, whatever the size of the batch.

    Raises:
        ServiceUnavailable: the lake cannot be read.
    """
    rows = 0
    writer: pq.ParquetWriter | None = None
    try:
        for piece in _row_groups(_batches(table, batch, columns)):
            writer = writer or pq.ParquetWriter(path, piece.schema, compression="zstd")
            if fingerprint is not None:
                fingerprint.add(piece)
            writer.write_table(piece)
            rows += piece.num_rows
    except OSError as error:
        raise ServiceUnavailable(
            f"the lake's files of batch {batch} cannot be read or copied to {path.parent}: {error}",
            fix="See that the lake answers (lakeferry doctor) and that the disk has room",
        ) from error
    finally:
        if writer is not None:
            writer.close()
    return rows


def _batches(table: Table, batch: int, columns: Sequence[WarehouseColumn]) -> Iterator[pa.Table]:
    names = [column.lake_name for column in columns]
    scan = table.scan(row_filter=EqualTo(term=BATCH_COLUMN, value=batch), selected_fields=tuple(names))
    reader = ArrowScan(
        table_metadata=table.metadata, io=table.io, projected_schema=scan.projection(), row_filter=scan.row_filter
    )
    # A scan of many files at once decodes them all ahead of its reader; file by file it cannot.
    for task in scan.plan_files():
        for record_batch in reader.to_record_batches([task]):
            if record_batch.num_rows:
                rows = pa.Table.from_batches([record_batch]).select(names)
                yield _plain(rows.rename_columns([column.staged_name for column in columns]))


def _plain(rows: pa.Table) -> pa.Table:
    """Without dictionaries and wide offsets, so that every piece has the same schema."""
    fields = []
    for field in rows.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            kind = pa.binary()
        fields.append(pa.field(field.name, kind))
    return rows.cast(pa.schema(fields))


def _row_groups(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for piece in pieces:
        held.append(piece)
        if sum(p.num_rows for p in held) >= ROW_GROUP_ROWS or sum(p.nbytes for p in held) >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
