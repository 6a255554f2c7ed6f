"""Row rules judged where rows already lie: on an attempt's branch, in the files slices were copied into.

Most slices hold no bad row, and stay as they are. A slice that holds one is written again, in one commit, with its bad
rows marked as `jobs.batch.landing` marks them; they are then set aside like any others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN
from jobs.batch.landing import marked

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

    from jobs.batch.attempt import Attempt


def judge(attempt: Attempt, rejection: SparkColumn, *, masked: bool) -> None:
    """Mark the rows on the branch that break a rule. Judged again, nothing changes.

    Args:
        rejection: NULL for a good row, else why not; of columns that no mask has changed.
        masked: whether columns of the dataset are masked.
    """
    rows = attempt.batch()
    broken = rows.where(F.col(f"{REJECTED_COLUMN}.reason").isNull() & rejection.isNotNull())
    slices = sorted(row[0] for row in broken.select(SLICE_COLUMN).distinct().collect())
    if slices:
        again = rows.where(F.col(SLICE_COLUMN).isin(slices))
        attempt.append(marked(again, attempt.columns, rejection, masked=masked), slices, in_place=True)
