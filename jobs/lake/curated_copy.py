"""Copies a curated table's whole state from a batch's files, as columns, if the batch is the complete state.

A snapshot that replaces is such a batch, and so is a first batch with one row per key. Then nothing needs to be ordered
or compared, and no row passes through Spark's rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pyiceberg.table import Table

from jobs.lake.arrow_schema import arrow_fields
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.catalog import data_folder
from jobs.lake.data_files import DataFile, copy_file
from jobs.lake.java_api import commit_with, data_files, java_class, java_table
from jobs.lake.map_files import map_files
from jobs.lake.names import CURATED
from jobs.lake.raw_table import RawTable
from jobs.lake.schema import table_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def write_whole_state(
    spark: SparkSession, dataset: str, batch: PublishedBatch, curated: Table, branch: str, properties: Mapping[str, str]
) -> bool:
    """Make a branch of a curated table hold just the rows of a batch, in one commit.

    Returns:
        False, without any change, if the batch's files do not show that they hold just these rows, or if the table has
        partitions.
    """
    files = RawTable(spark, dataset).batch_files(batch.snapshot_id, batch.run_id, batch.batch)
    ours = all(file.slice_id is not None for file in files) and sum(file.rows for file in files) == batch.rows
    if not ours or not curated.spec().is_unpartitioned():
        return False
    copy = partial(
        copy_file,
        schema=arrow_fields(curated),
        folder=data_folder(curated),
        properties=dict(curated.io.properties),
    )
    copied = map_files(spark, files, copy)
    _replace_all(spark, dataset, branch, [file for several in copied for file in several], properties)
    return True


def _replace_all(
    spark: SparkSession, dataset: str, branch: str, files: Sequence[DataFile], properties: Mapping[str, str]
) -> None:
    table = java_table(spark, table_name(spark, CURATED, dataset))
    everything = java_class(spark, "org.apache.iceberg.expressions.Expressions").alwaysTrue()
    update = table.newOverwrite().overwriteByRowFilter(everything).toBranch(branch)
    for entry in data_files(spark, table, files):
        update = update.addFile(entry)
    commit_with(update, properties)
