"""Something done with each of some data files: here where they are small, else by Spark's tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from jobs.lake.data_files import DataFile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Done = TypeVar("Done")

FEW_BYTES = 4 * 1024 * 1024
"""Read in less time than Spark takes to begin a job."""


def with_each_file(
    spark: SparkSession, files: Sequence[DataFile], work: Callable[[DataFile], Done], at_once: int | None = None
) -> list[Done]:
    """What `work` makes of each file, in order. It goes to the tasks pickled; `at_once` is how many there are at most,
    one a file unless it is said."""
    if sum(file.size_bytes for file in files) <= FEW_BYTES:
        return [work(file) for file in files]
    tasks = spark.sparkContext.parallelize(files, min(len(files), at_once or len(files)))
    return tasks.map(work).collect()
