"""Copies slices from the source into data files, as Arrow columns, in Spark's tasks: no row passes through the JVM.

A task reads a slice, compares what arrived with the server's fingerprints, masks it and writes it. If there are
fingerprints, it compares what it wrote, too. The driver gets the names of the files and commits them. Uncommitted files
are invisible, so only a slice whose connection broke is copied again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, Slice, SliceReader
from connectors.errors import LakeferryError, ServiceUnavailable
from jobs.lake.data_files import DataFile, DataFileWriter
from jobs.runtime.background import begun
from jobs.stages.batch.warehouse_limits import count_unfit
from jobs.stages.extract.arrow_landing import ArrowLanding

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FEW_ROWS = 20_000
"""So few rows are copied in less time than Spark takes to begin a job."""
Reading = Callable[[Sequence[Slice]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Copying:
    """What tasks need. It is pickled for them, including the connection and the key of masks.

    Args:
        folder: where the raw table's data lies.
        file_io: properties of its file IO.
        primary_key: columns without which a row must be judged again.
    """

    reader: SliceReader
    landing: ArrowLanding
    folder: str
    file_io: Mapping[str, str]
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopiedSlice:
    """The result of copying a slice. `source_rows` is the count that the source reports. `altered_rows` do not match
    the source's fingerprints; `rejected_rows` could not be decoded; BigQuery refuses `unfit_rows`, which could be
    decoded. `proof_seconds` is how long comparing rows and files took; reading includes the server's fingerprints."""

    id: int
    files: tuple[DataFile, ...]
    source_rows: int | None
    altered_rows: int
    rejected_rows: int
    unfit_rows: int
    proof_seconds: float


def begin_workers(spark: SparkSession, slices: Sequence[Slice]) -> Future[None] | None:
    """Have Spark start the Python workers for copying these slices while the caller does something else: it takes
    seconds. Returns None if Spark is not needed."""
    if _are_few(slices):
        return None
    cluster = spark.sparkContext
    return begun(lambda: cluster.parallelize(range(cluster.defaultParallelism)).foreach(lambda _: None), "workers")


def copy_slices(
    spark: SparkSession, work: Copying, slices: Sequence[Slice], reading: Reading, at_once: int, together: int
) -> Generator[list[CopiedSlice], None, None]:
    """Copy slices, each in its own Spark job, and yield them as they are done; nothing is committed. A few rows are
    copied in this process, without Spark.

    While the caller commits some slices, the next ones are copied. If closed early, it waits for those under way.

    Args:
        reading: entered around the reading of a slice, in any thread.
        at_once: how many slices are read at once, at most.
        together: how many are yielded at a time.

    Raises:
        LakeferryError: see the source's reader, and `DataFileWriter`. Slices that were copied and not yielded are lost.
    """
    # Not at the top: the tasks import this module, too, and that import brings the catalog with it.
    from jobs.lake.spark_session import TASK_ATTEMPTS

    if _are_few(slices):
        with reading(slices):
            yield [_raised(_tried(work, slice_.id, TASK_ATTEMPTS)) for slice_ in slices]
        return

    def copied(slice_: Slice) -> CopiedSlice:
        with reading([slice_]):
            slice_id, needed = slice_.id, replace(work, reader=work.reader.only(slice_.id))
            task = spark.sparkContext.parallelize([slice_id], 1)
            # A failure comes back as a result: if the task raised it, Spark would wrap it into a trace.
            [outcome] = task.map(lambda slice_id: _tried(needed, slice_id, TASK_ATTEMPTS)).collect()
        return _raised(outcome)

    with ThreadPoolExecutor(min(at_once, len(slices)), thread_name_prefix="copy") as pool:
        under_way = [pool.submit(copied, slice_) for slice_ in slices]
        try:
            done: list[CopiedSlice] = []
            for future in as_completed(under_way):
                done.append(future.result())
                if len(done) == together:
                    yield done
                    done = []
            if done:
                yield done
        finally:
            for future in under_way:
                future.cancel()


def _raised(outcome: CopiedSlice | LakeferryError) -> CopiedSlice:
    if isinstance(outcome, LakeferryError):
        raise outcome
    return outcome


def _are_few(slices: Sequence[Slice]) -> bool:
    return sum(FEW_ROWS + 1 if slice_.planned_rows is None else slice_.planned_rows for slice_ in slices) <= FEW_ROWS


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
    altered = rejected = unfit = 0
    proof_seconds = 0.0
    proved = FINGERPRINT_COLUMN in work.reader.schema.names
    files = DataFileWriter(work.landing.schema, work.folder, work.file_io, slice_id, proved=proved)
    with work.reader.open(slice_id) as opened:
        for rows in opened.batches:
            if proved:
                began = time.perf_counter()
                altered += work.reader.altered(rows)
                proof_seconds += time.perf_counter() - began
            bad = rows.column(REJECTED_COLUMN)
            rejected += len(bad) - bad.null_count
            landed = work.landing.land(rows, slice_id)
            unfit += count_unfit(landed, work.primary_key)
            files.add(landed)
    data_files = files.close()
    return CopiedSlice(
        slice_id, data_files, opened.source_rows, altered, rejected, unfit, proof_seconds + files.proof_seconds
    )
