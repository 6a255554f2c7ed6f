"""Judges rows on an attempt's branch, in the files into which slices were copied.

Most slices hold no bad row, and stay as they are. A slice that holds one is written again, in one commit, with its bad
rows marked as `jobs.stages.batch.spark_landing` marks them. They are then set aside like any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN
from jobs.stages.batch.spark_landing import marked
from jobs.stages.batch.warehouse_limits import limit_rejection

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

    from jobs.stages.batch.attempt import Attempt


def judge(attempt: Attempt, rejection: SparkColumn | None, primary_key: Sequence[str], *, masked: bool) -> None:
    """Mark the rows on the branch that break a rule or a limit of BigQuery. Judging them again changes nothing.

    Args:
        rejection: NULL for a good row, else the reason; it uses no masked column. None if there is no rule to judge.
        primary_key: columns without which a row is rejected.
        masked: whether columns of the dataset are masked.
    """
    reasons = [reason for reason in (rejection, limit_rejection(attempt.columns, primary_key)) if reason is not None]
    if not reasons:
        return
    refused, rows = F.coalesce(*reasons), attempt.batch()
    broken = rows.where(F.col(f"{REJECTED_COLUMN}.reason").isNull() & refused.isNotNull())
    slices = sorted(row[0] for row in broken.select(SLICE_COLUMN).distinct().collect())
    if slices:
        again = rows.where(F.col(SLICE_COLUMN).isin(slices))
        attempt.append(marked(again, attempt.columns, refused, masked=masked), slices, in_place=True)
