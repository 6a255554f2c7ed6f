"""Refuses, before publishing, a batch that would make more partitions in BigQuery than a table takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from connectors.errors import CheckFailed
from jobs.lake.schema import quoted
from jobs.spec.bigquery_table import MOST_PARTITIONS
from jobs.spec.models import DatasetSpec
from jobs.stages.load.load_changes import COARSER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame


def check_partition_count(dataset: DatasetSpec, rows: int, batch: Callable[[], DataFrame]) -> None:
    """Check that the rows of a batch are in no more partitions by time than a table may have. The spec itself says how
    many partitions by integers there are.

    Args:
        rows: how many the batch has. If a table may have more partitions than that, the rows are not read.
        batch: reads them.

    Raises:
        CheckFailed: the rows are in more partitions.
    """
    layout = dataset.bigquery
    if layout.partition_by is None or layout.partition_range is not None or rows <= MOST_PARTITIONS:
        return
    column = F.col(quoted(layout.partition_by))
    partitions = batch().select(F.date_trunc(layout.partition_granularity, column)).distinct().count()
    if partitions > MOST_PARTITIONS:
        raise CheckFailed(
            f"the batch has rows of {partitions} partitions (bigquery.partition_by: {layout.partition_by}, by "
            f"{layout.partition_granularity}), and a table of BigQuery takes {MOST_PARTITIONS}",
            fix=f"{COARSER}; then clear plan with downstream (or run again)",
        )
