"""Which rows of a quarantine table count: those of the attempt that a published batch names.

An attempt that died, or whose batch was refused, leaves its rows there, too. They show what happened and count for
nothing. Batches from before attempts had names are known by their run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobs.lake.batches import NOTHING_SET_ASIDE, PublishedBatch
from jobs.lake.catalog import QUARANTINE
from jobs.lake.java_table import has_files
from jobs.lake.schema import ATTEMPT_COLUMN, RUN_COLUMN, table_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Counted:
    """The attempts, and for older batches the runs, whose rows belong to these batches."""

    def __init__(self, batches: Iterable[PublishedBatch]) -> None:
        bad = [batch for batch in batches if batch.quarantined]
        self.attempts = {batch.set_aside for batch in bad if batch.set_aside is not None}
        self.runs = {batch.run_id for batch in bad if batch.set_aside is None}

    def __bool__(self) -> bool:
        return bool(self.attempts or self.runs)

    def holds(self, attempt: str | None, run_id: str) -> bool:
        """Whether a row with this attempt (None: written before attempts had names) and run belongs to them."""
        return run_id in self.runs if attempt is None else attempt in self.attempts

    def rows(self, spark: SparkSession, dataset: str) -> DataFrame:
        """These rows of a dataset's quarantine."""
        from pyspark.sql import functions as F

        table = spark.table(table_name(spark, QUARANTINE, dataset))
        old = F.col(ATTEMPT_COLUMN).isNull() & F.col(RUN_COLUMN).isin(sorted(self.runs))
        return table.where(F.col(ATTEMPT_COLUMN).isin(sorted(self.attempts)) | old)


def has_set_aside(attempt: str | None) -> bool:
    """Whether an attempt, as a snapshot names it, has set rows aside."""
    return attempt not in (None, NOTHING_SET_ASIDE)


def set_aside_by_slice(spark: SparkSession, dataset: str, attempt: str | None) -> dict[int, int]:
    """Rows an attempt has set aside, by slice. Most have none, and no job is run for those."""
    from pyspark.sql import functions as F

    from connectors.base import SLICE_COLUMN

    name = table_name(spark, QUARANTINE, dataset)
    if attempt is None or not has_set_aside(attempt) or not has_files(spark, name, ATTEMPT_COLUMN, attempt):
        return {}
    mine = spark.table(name).where(F.col(ATTEMPT_COLUMN) == attempt)
    return {row[0]: row[1] for row in mine.groupBy(SLICE_COLUMN).count().collect()}
