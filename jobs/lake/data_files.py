"""Parquet data files written from Arrow rows, each named after its own bytes.

Where values are proved, the task that writes a file reads it back and compares it with its rows, cell by cell. From
then on its bytes stand for these rows. Its name holds their SHA-256, so any reader who has the path can see, without
decoding the file, that it is still the one that was compared.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO, load_file_io

from connectors.errors import ReconciliationFailed
from jobs.lake.file_metrics import FileMetrics

MOST_FILE_BYTES = 64 * 1024 * 1024
"""In bytes of Arrow memory: a file's rows are held until they are compared. Compressed, a file has about a fifth."""
ROW_GROUP_BYTES = 16 * 1024 * 1024
"""In bytes of Arrow memory, too: what is written and read back at once uses the same memory again."""
_CHUNK_BYTES = 8 * 1024 * 1024
_COPIED_ROWS = 65_536
_NAME = re.compile(r"slice_(\d+)_[0-9a-f]{12}_([0-9a-f]{64})\.parquet")


@dataclass(frozen=True)
class DataFile:
    """A data file of an Iceberg table. `rows` and `size_bytes` are what its footer and its length say. `metrics` are
    what Iceberg keeps of its columns (`jobs.lake.file_metrics`); only present if the file was just written."""

    path: str
    rows: int
    size_bytes: int
    metrics: str | None = field(default=None, compare=False, repr=False)

    @property
    def slice_id(self) -> int | None:
        """The one slice whose rows the file holds; None if it is not named after its bytes."""
        match = _NAME.fullmatch(self.path.rpartition("/")[2])
        return int(match[1]) if match else None


class DataFileWriter:
    """Writes the files of one slice; at most one file's rows are in memory.

    Args:
        schema: the table's columns as Arrow has them, with Iceberg's field ids.
        folder: where the table's data lies.
        properties: of the table's file IO (`pyiceberg.io`).
        proved: each file is read back and compared; `proof_seconds` is how long that took so far.
    """

    def __init__(
        self, schema: pa.Schema, folder: str, properties: Mapping[str, str], slice_id: int, *, proved: bool = True
    ) -> None:
        self._schema = schema
        self._folder = folder
        self._io: FileIO = load_file_io(dict(properties), folder)
        self._metrics = FileMetrics(schema)
        self._slice_id = slice_id
        self._proved = proved
        self._batches: list[pa.RecordBatch] = []
        self._batch_bytes = 0
        self._written: list[DataFile] = []
        self.proof_seconds = 0.0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows of the schema's columns; a file is written whenever enough are there.

        Raises:
            ReconciliationFailed: a file that is proved does not hold the rows it was made of.
        """
        self._batches.append(rows)
        self._batch_bytes += rows.nbytes
        if self._batch_bytes >= MOST_FILE_BYTES:
            self._write()

    def close(self) -> tuple[DataFile, ...]:
        """Write the rest. Returns all files of the slice, which may be empty; raises what `add` raises."""
        if self._batches:
            self._write()
        return tuple(self._written)

    def _write(self) -> None:
        rows = pa.Table.from_batches(self._batches, self._schema)
        self._batches, self._batch_bytes = [], 0
        sink = pa.BufferOutputStream()
        # Integers where the digits allow it, as the Iceberg specification has decimals in Parquet. Dictionaries cost
        # twice the time and save nothing: keys, times and amounts hardly repeat, and zstd finds what does.
        footer: list[pq.FileMetaData] = []
        pq.write_table(
            rows,
            sink,
            metadata_collector=footer,
            row_group_size=max(1, rows.num_rows * ROW_GROUP_BYTES // max(rows.nbytes, ROW_GROUP_BYTES)),
            compression="zstd",
            use_dictionary=False,
            store_decimal_as_integer=True,
        )
        content = sink.getvalue()
        began = time.perf_counter()
        if self._proved and not _holds(content, rows):
            raise ReconciliationFailed(
                f"slice {self._slice_id}: the Parquet file does not hold the rows that were read",
                fix="Run it again; if it stays, report it with the versions of pyarrow and Python",
            )
        digest = hashlib.sha256(content).hexdigest()
        self.proof_seconds += time.perf_counter() - began if self._proved else 0.0
        # The same rows, read again, get another file: one path never comes and goes in a table's history.
        path = f"{self._folder}/slice_{self._slice_id}_{uuid.uuid4().hex[:12]}_{digest}.parquet"
        # Nobody else uses that name, so no request asks whether it is taken.
        with self._io.new_output(path).create(overwrite=True) as out:
            out.write(content)
        self._written.append(DataFile(path, rows.num_rows, len(content), self._metrics.text(footer[0])))


def _holds(content: pa.Buffer, rows: pa.Table) -> bool:
    """Whether a Parquet file holds just these rows, cell by cell."""
    file = pq.ParquetFile(pa.BufferReader(content))
    seen = 0
    for number in range(file.num_row_groups):
        group = file.read_row_group(number, use_threads=False)
        if not group.equals(rows.slice(seen, group.num_rows)):
            return False
        seen += group.num_rows
    return bool(seen == rows.num_rows)


def copy_file(file: DataFile, schema: pa.Schema, folder: str, properties: Mapping[str, str]) -> tuple[DataFile, ...]:
    """Copy the columns of `schema` that a file of one slice has, for a table whose data lies in `folder`. A column that
    the file lacks is left out: it is NULL in these rows, as it is in the file's own table."""
    assert file.slice_id is not None, "only files of one slice are copied"
    with load_file_io(dict(properties), file.path).new_input(file.path).open() as content:
        source = pq.ParquetFile(content)
        there = pa.schema([field for field in schema if field.name in source.schema_arrow.names])
        files = DataFileWriter(there, folder, properties, file.slice_id, proved=False)
        for rows in source.iter_batches(_COPIED_ROWS, columns=there.names, use_threads=False):
            arrays = [rows.column(field.name).cast(field.type) for field in there]
            files.add(pa.RecordBatch.from_arrays(arrays, schema=there))
        return files.close()


def is_altered(path: str, properties: Mapping[str, str]) -> bool:
    """Whether a file's bytes are not those it is named after, or are not there.

    Args:
        properties: of the table's file IO.
    """
    match = _NAME.fullmatch(path.rpartition("/")[2])
    assert match is not None, "only files named after their bytes are asked for"
    digest = hashlib.sha256()
    try:
        with load_file_io(dict(properties), path).new_input(path).open() as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return True
    return digest.hexdigest() != match[2]
