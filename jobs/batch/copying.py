"""Slices copied from the source into data files, as Arrow columns, by Spark's tasks: no row passes through the JVM.

A task reads a slice, compares what arrived with the server's fingerprints, masks it and writes it, and compares what it
wrote where there are fingerprints; the driver is told of the files and commits them. What is in no commit nobody sees,
so a slice whose connection broke is simply copied again, it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, Slice, SliceReader
from connectors.errors import LakeferryError, ServiceUnavailable
from jobs.batch.arrow_landing import ArrowLanding
from jobs.lake.arrow_files import DataFile, FileMaker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


FEW_ROWS = 20_000
"""Copied in less time than Spark takes to begin a job."""


@dataclass(frozen=True)
class Copying:
    """What tasks need; it goes to them pickled, and with it the connection and the key of masks.

    Args:
        folder: where the raw table's data lies.
        file_io: properties of its file IO.
    """

    reader: SliceReader
    landing: ArrowLanding
    folder: str
    file_io: Mapping[str, str]


@dataclass(frozen=True)
class CopiedSlice:
    """What came of a slice. `source_rows` is what the source says of it; `altered_rows` are not what the source made
    its fingerprints of; `rejected_rows` could not be decoded."""

    id: int
    files: tuple[DataFile, ...]
    source_rows: int | None
    altered_rows: int
    rejected_rows: int


def copy_slices(spark: SparkSession, work: Copying, slices: Sequence[Slice], at_once: int) -> list[CopiedSlice]:
    """Copy slices, at most so many at once; nothing is committed. A few rows are copied here, without Spark.

    Raises:
        LakeferryError: as of the source's reader, and of `FileMaker`; of several the one of the first slice.
    """
    # Not at the top: it is imported where the tasks run, too, and brings the catalog with it.
    from jobs.spark import TASK_ATTEMPTS

    told: list[CopiedSlice | LakeferryError]
    ids = [piece.id for piece in slices]
    if _are_few(slices):
        told = [_tried(work, slice_id, TASK_ATTEMPTS) for slice_id in ids]
    else:
        cluster = spark.sparkContext
        # Where there are no more cores than may read at once, a task a slice keeps them all busy to the end.
        limited = not str(cluster.master).startswith("local") or at_once < cluster.defaultParallelism
        tasks = cluster.parallelize(ids, min(at_once, len(ids)) if limited else len(ids))
        # A failure comes back as a result: raised, Spark would wrap it into a trace.
        told = tasks.map(lambda slice_id: _tried(work, slice_id, TASK_ATTEMPTS)).collect()
    copied = []
    for found in told:
        if isinstance(found, LakeferryError):
            raise found
        copied.append(found)
    return copied


def _are_few(slices: Sequence[Slice]) -> bool:
    return sum(FEW_ROWS + 1 if piece.planned_rows is None else piece.planned_rows for piece in slices) <= FEW_ROWS


def _tried(work: Copying, slice_id: int, most_attempts: int) -> CopiedSlice | LakeferryError:
    attempts = 0
    while True:
        attempts += 1
        try:
            return _copied(work, slice_id)
        except ServiceUnavailable as error:
            if attempts == most_attempts:
                return error
        except LakeferryError as error:
            return error


def _copied(work: Copying, slice_id: int) -> CopiedSlice:
    altered = rejected = 0
    proved = FINGERPRINT_COLUMN in work.reader.schema.names
    files = FileMaker(work.landing.schema, work.folder, work.file_io, slice_id, proved=proved)
    with work.reader.open(slice_id) as opened:
        for rows in opened.batches:
            if proved:
                altered += work.reader.altered(rows)
            bad = rows.column(REJECTED_COLUMN)
            rejected += len(bad) - bad.null_count
            files.add(work.landing.land(rows, slice_id))
    return CopiedSlice(slice_id, files.close(), opened.source_rows, altered, rejected)
