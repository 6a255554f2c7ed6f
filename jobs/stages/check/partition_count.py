"""How many partitions a batch would make in BigQuery: more than a table takes are refused before publishing."""

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


def refuse_too_many_partitions(dataset: DatasetSpec, rows: int, batch: Callable[[], DataFrame]) -> None:
    """See that the rows of a batch are in no more partitions by time than a table may have. Of integers the spec says
    how many there are.

    Args:
        rows: how many the batch has; fewer than a table has partitions are not looked at.
        batch: reads them.

    Raises:
        CheckFailed: they are in more.
    """
    layout = dataset.bigquery
    if layout.partition_by is None or layout.partition_range is not None or rows <= MOST_PARTITIONS:
        return
    column = F.col(quoted(layout.partition_by))
    found = batch().select(F.date_trunc(layout.partition_granularity, column)).distinct().count()
    if found > MOST_PARTITIONS:
        raise CheckFailed(
            f"the batch has rows of {found} partitions (bigquery.partition_by: {layout.partition_by}, by "
            f"{layout.partition_granularity}), and a table of BigQuery takes {MOST_PARTITIONS}",
            fix=f"{COARSER}; then clear plan with downstream (or run again)",
        )
