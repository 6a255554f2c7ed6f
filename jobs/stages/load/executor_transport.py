"""Sends a large batch to the bucket: Spark's executors take its data files in parallel, and no row passes through the
driver."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.table import StaticTable, Table

from connectors.bigquery.arrow_fingerprints import TransportHash
from connectors.bigquery.bucket import Bucket, BucketAddress
from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.transport_files import TransportFile
from connectors.errors import LakeferryError
from jobs.stages.load.transport_files import MOST_FILE_BYTES, DataFile, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHARE_BYTES = 512 * 1024 * 1024
"""How many bytes of the lake's files a task takes. It needs as much room on its disk, and a minute or two."""


@dataclass(frozen=True)
class Executors:
    """How a load reaches the executors. `session` opens Spark, or returns the open session. Batches whose data files
    have fewer than `from_bytes` bytes do not use the executors."""

    session: Callable[[], SparkSession]
    from_bytes: int


@dataclass(frozen=True)
class _Share:
    """The work of one task. It holds no secret: the workers have their own credentials, or the environment's."""

    number: int
    paths: tuple[str, ...]
    metadata: str
    file_io: dict[str, str]
    batch: int
    columns: tuple[WarehouseColumn, ...]
    address: BucketAddress
    folder: str
    hashed: bool


@dataclass(frozen=True)
class _Carried:
    """The result of a share; `refused` is set instead of the rest, so that Spark does not wrap it into its own
    trace."""

    files: tuple[TransportFile, ...] = ()
    uris: tuple[str, ...] = ()
    fingerprint: int = 0
    refused: LakeferryError | None = None


def carry(
    executors: Executors,
    raw: Table,
    batch: int,
    data: Sequence[DataFile],
    columns: Sequence[WarehouseColumn],
    address: BucketAddress,
    folder: str,
    fingerprint: TransportHash | None,
) -> tuple[list[TransportFile], list[str]]:
    """Write a batch's rows into the bucket as Parquet files. Returns the files, which are deleted, and their URIs.

    The folder's name ends with a mark of the work. A second attempt at the same work sends only the objects that are
    missing or wrong; an attempt that would write other bytes has another folder.

    Args:
        data: the data files that hold the batch.
        folder: a path below the address.
        fingerprint: takes in each of the rows.

    Raises:
        ServiceUnavailable, AccessDenied, ObjectNotFound, CopyDiffers: see `write_parquet` and `Bucket.upload`; of
            several errors, that of the first files.
    """
    whole = _Share(
        number=0,
        paths=(),
        metadata=raw.metadata_location,
        file_io=dict(raw.io.properties),
        batch=batch,
        columns=tuple(columns),
        address=address,
        folder=f"{folder}_{_mark(data, columns)}",
        hashed=fingerprint is not None,
    )
    shares = [replace(whole, number=number, paths=paths) for number, paths in enumerate(_shared_out(data))]
    carried = executors.session().sparkContext.parallelize(shares, len(shares)).map(_carry).collect()
    for share in carried:
        if share.refused is not None:
            raise share.refused
        if fingerprint is not None:
            fingerprint.take(share.fingerprint)
    return [file for share in carried for file in share.files], [uri for share in carried for uri in share.uris]


def _carry(share: _Share) -> _Carried:
    try:
        raw = StaticTable.from_metadata(share.metadata, share.file_io)
        hashed = TransportHash(share.columns) if share.hashed else None
        with tempfile.TemporaryDirectory(prefix="lakeferry-load-") as folder:
            files = write_parquet(
                raw,
                share.batch,
                share.columns,
                Path(folder),
                fingerprint=hashed,
                only=frozenset(share.paths),
            )
            uris = Bucket(share.address).upload(files, f"{share.folder}/{share.number:05}")
        return _Carried(tuple(files), tuple(uris), hashed.total() if hashed else 0)
    except LakeferryError as error:
        return _Carried(refused=error)


def _shared_out(data: Sequence[DataFile]) -> list[tuple[str, ...]]:
    """Return the files' paths, in order, in shares of at least one file and otherwise at most `SHARE_BYTES`."""
    shares: list[list[str]] = []
    size = 0
    for file in sorted(data, key=lambda file: file.path):
        if not shares or size + file.size_bytes > SHARE_BYTES:
            shares.append([])
            size = 0
        shares[-1].append(file.path)
        size += file.size_bytes
    return [tuple(paths) for paths in shares]


def _mark(data: Sequence[DataFile], columns: Sequence[WarehouseColumn]) -> str:
    """Return twelve hexadecimal digits that change with anything that determines the bytes of the files."""
    parts = [repr(part) for part in (*sorted(data, key=lambda file: file.path), *columns)]
    parts += [pa.__version__, repr(MOST_FILE_BYTES), repr(SHARE_BYTES)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
