"""Writes the rows of one published batch from the lake to a few large Parquet files that BigQuery can load."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import EqualTo
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from connectors.base import READ_COLUMNS, ParsedType
from connectors.bigquery.arrow_fingerprints import TransportHash
from connectors.bigquery.columns import BATCH_COLUMN, RUN_COLUMN, WarehouseColumn, warehouse_columns
from connectors.bigquery.transport_files import TransportFile, transport_file
from connectors.errors import ServiceUnavailable
from jobs.lake.schema import spark_word

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 64 * 1024 * 1024
MOST_FILE_BYTES = 1024**3
"""A file is closed before it grows beyond this, so that little is sent again after a failure."""


def columns_of(schema: Schema, parsed: Mapping[str, ParsedType] = MappingProxyType({})) -> list[WarehouseColumn]:
    """Return BigQuery's columns for a raw table's: all but those that serve the read, `_run_id` and `_batch` last.

    Args:
        parsed: the text columns that BigQuery parses, and the type it parses them to.

    Raises:
        UnsupportedType: BigQuery cannot hold a column.
    """
    kept = [field for field in schema.fields if field.name not in READ_COLUMNS]
    kept.sort(key=lambda field: field.name in (RUN_COLUMN, BATCH_COLUMN))
    return warehouse_columns(((field.name, spark_word(field.field_type), field.doc) for field in kept), parsed)


@dataclass(frozen=True)
class DataFile:
    """A file of the lake that holds rows of a batch."""

    path: str
    size_bytes: int


def data_files(table: Table, batch: int) -> list[DataFile]:
    """List the files that hold the rows of a batch as they stand on `main`.

    Raises:
        ServiceUnavailable: the lake cannot be read.
    """
    try:
        tasks = table.scan(row_filter=EqualTo(term=BATCH_COLUMN, value=batch)).plan_files()
        return [DataFile(task.file.file_path, task.file.file_size_in_bytes) for task in tasks]
    except OSError as error:
        raise ServiceUnavailable(
            f"the lake's files of batch {batch} cannot be listed: {error}",
            fix="See that the lake answers (lakeferry doctor)",
        ) from error


def write_parquet(
    table: Table,
    batch: int,
    columns: Sequence[WarehouseColumn],
    folder: Path,
    most_bytes: int | None = None,
    fingerprint: TransportHash | None = None,
    only: Collection[str] | None = None,
) -> list[TransportFile]:
    """Write the rows of a batch as they stand on `main` into `00000.parquet`, `00001.parquet` and so on.

    One data file of the lake is in memory at a time, regardless of the size of the batch. The same data files give the
    same transport files, to the byte.

    Args:
        folder: an empty one.
        most_bytes: size of a file without its footer; default: `MOST_FILE_BYTES`. A larger row has a file of its own.
        fingerprint: takes in each of the rows.
        only: paths of the data files to read; default: all.

    Raises:
        ServiceUnavailable: the lake cannot be read, or the folder cannot be written.
    """
    most_bytes = most_bytes or MOST_FILE_BYTES
    try:
        with closing(_Files(folder, most_bytes)) as files:
            for group in _row_groups(_batches(table, batch, columns, only), min(ROW_GROUP_BYTES, most_bytes)):
                if fingerprint is not None:
                    fingerprint.add(group)
                files.add(group)
        return [transport_file(path, rows) for path, rows in files.written]
    except OSError as error:
        raise ServiceUnavailable(
            f"the lake's files of batch {batch} cannot be read or copied to {folder}: {error}",
            fix="See that the lake answers (lakeferry doctor) and that the disk has room",
        ) from error


class _Files:
    """Parquet files side by side in a folder, one of them open. `written` is the path and the rows of each."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._sink: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self.written: list[tuple[Path, int]] = []

    def add(self, rows: pa.Table) -> None:
        """Append a row group, in the next file if it might not fit into this one."""
        if self._sink is not None and self._sink.tell() + rows.nbytes > self._most_bytes:
            self.close()
        if self._writer is None:
            path = self._folder / f"{len(self.written):05}.parquet"
            self.written.append((path, 0))
            self._sink = pa.OSFile(str(path), "wb")
            # Without dictionaries the files of payments are a third smaller, and are written in half the time: keys,
            # times and amounts hardly repeat, and zstd finds the values that do.
            self._writer = pq.ParquetWriter(self._sink, rows.schema, compression="zstd", use_dictionary=False)
        self._writer.write_table(rows)
        path, before = self.written[-1]
        self.written[-1] = (path, before + rows.num_rows)

    def close(self) -> None:
        """Close the open file, if there is one."""
        writer, sink = self._writer, self._sink
        self._writer = self._sink = None
        if writer is not None and sink is not None:
            with sink:
                writer.close()


def _batches(
    table: Table, batch: int, columns: Sequence[WarehouseColumn], only: Collection[str] | None
) -> Iterator[pa.Table]:
    names = [column.lake_name for column in columns]
    scan = table.scan(row_filter=EqualTo(term=BATCH_COLUMN, value=batch), selected_fields=tuple(names))
    reader = ArrowScan(
        table_metadata=table.metadata, io=table.io, projected_schema=scan.projection(), row_filter=scan.row_filter
    )
    # A scan of many files decodes them all ahead of its reader; a scan of one file cannot. The files are read in one
    # order, regardless of later commits, so that a second attempt writes the same files.
    tasks = [task for task in scan.plan_files() if only is None or task.file.file_path in only]
    for task in sorted(tasks, key=lambda task: task.file.file_path):
        for record_batch in reader.to_record_batches([task]):
            if record_batch.num_rows:
                rows = texts_of_decimals(pa.Table.from_batches([record_batch]).select(names), columns)
                yield plain(rows.rename_columns([column.staged_name for column in columns]))


def texts_of_decimals(rows: pa.Table, columns: Sequence[WarehouseColumn]) -> pa.Table:
    """Turn the decimals of columns that are text in the warehouse into text, with all digits of their scale.

    Only the emulator has such columns (`connectors.bigquery.columns.in_emulator`); others cost nothing.
    """
    for column in columns:
        index = rows.schema.get_field_index(column.lake_name)
        if column.type == "STRING" and index >= 0 and pa.types.is_decimal(rows.schema.field(index).type):
            # Arrow's own cast writes small numbers with an exponent.
            texts = [None if value is None else f"{value:f}" for value in rows.column(index).to_pylist()]
            rows = rows.set_column(index, column.lake_name, pa.array(texts, pa.string()))
    return rows


def plain(rows: pa.Table) -> pa.Table:
    """Remove dictionaries and wide offsets, so that every piece has the same schema."""
    fields = []
    for field in rows.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            kind = pa.binary()
        fields.append(pa.field(field.name, kind))
    return rows.cast(pa.schema(fields))


def _row_groups(tables: Iterator[pa.Table], most_bytes: int) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        for part in _parts(table, most_bytes):
            if waiting and (rows + part.num_rows > ROW_GROUP_ROWS or size + part.nbytes > most_bytes):
                yield pa.concat_tables(waiting)
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows, size = rows + part.num_rows, size + part.nbytes
    if waiting:
        yield pa.concat_tables(waiting)


def _parts(table: pa.Table, most_bytes: int) -> Iterator[pa.Table]:
    """Yield the rows in order, in parts of at most so many bytes if rows are alike."""
    step = max(1, table.num_rows * most_bytes // max(1, table.nbytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)
