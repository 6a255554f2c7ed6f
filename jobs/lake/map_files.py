"""Maps a function over data files: in this process if they are small, in Spark's tasks otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from jobs.lake.data_files import DataFile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Done = TypeVar("Done")

FEW_BYTES = 4 * 1024 * 1024
"""So many bytes are read in less time than Spark takes to begin a job."""


def map_files(
    spark: SparkSession, files: Sequence[DataFile], work: Callable[[DataFile], Done], at_once: int | None = None
) -> list[Done]:
    """Return the results of `work` for the files, in order. `work` goes to the tasks pickled. There are at most
    `at_once` tasks; by default one per file."""
    if sum(file.size_bytes for file in files) <= FEW_BYTES:
        return [work(file) for file in files]
    tasks = spark.sparkContext.parallelize(files, min(len(files), at_once or len(files)))
    return tasks.map(work).collect()
