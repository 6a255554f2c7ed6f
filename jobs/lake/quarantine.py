"""Which rows of a quarantine table count: those of the attempt that a published batch names.

An attempt writes under its own name and replaces nothing. The rows of a dead attempt are removed once another attempt
of its generation is published. Rows of a refused batch stay: they show what happened, and do not count. Batches from
before attempts had names are identified by their run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from connectors.base import SLICE_COLUMN
from jobs.lake.batch_log import NOTHING_SET_ASIDE, PublishedBatch
from jobs.lake.java_api import has_files, java_class
from jobs.lake.names import QUARANTINE
from jobs.lake.schema import ATTEMPT_COLUMN, GENERATION_COLUMN, RUN_COLUMN, literal, table_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

VALUE_IN_REASON = re.compile(r"(: not a date): [^;]*")
"""A source's reason may end in the value that is not a date, and the mask may be newer than the row. Code that shows a
reason to others replaces the value with the first group."""


class Counted:
    """The attempts, and for older batches the runs, whose rows belong to these batches."""

    def __init__(self, batches: Iterable[PublishedBatch]) -> None:
        known = list(batches)
        self._any = any(batch.quarantined for batch in known)
        self._attempts = {(batch.run_id, batch.set_aside) for batch in known if has_set_aside(batch.set_aside)}
        self._runs = {batch.run_id for batch in known if batch.set_aside is None}

    def __bool__(self) -> bool:
        return self._any

    def holds(self, run_id: str, attempt: str | None) -> bool:
        """Whether a row of this run and attempt (None: written before attempts had names) belongs to them."""
        return run_id in self._runs if attempt is None else (run_id, attempt) in self._attempts

    def rows(self, spark: SparkSession, dataset: str) -> DataFrame:
        """Return these rows of a dataset's quarantine."""
        from pyspark.sql import functions as F

        run, attempt = F.col(RUN_COLUMN), F.col(ATTEMPT_COLUMN)
        # Runs are partitions: those of other runs are not read.
        runs = {run_id for run_id, _ in self._attempts}
        ours = run.isin(sorted(runs)) & F.concat_ws(" ", attempt, run).isin(
            sorted(f"{name} {run_id}" for run_id, name in self._attempts)
        )
        old = attempt.isNull() & run.isin(sorted(self._runs))
        return spark.table(table_name(spark, QUARANTINE, dataset)).where(ours | old)


def has_set_aside(attempt: str | None) -> bool:
    """Whether an attempt, as a snapshot names it, has set rows aside."""
    return attempt not in (None, NOTHING_SET_ASIDE)


def set_aside_by_slice(spark: SparkSession, dataset: str, run_id: str, attempt: str | None) -> dict[int, int]:
    """Count the rows that an attempt of a run has set aside, by slice. Most attempts set none aside, and need no
    job."""
    from pyspark.sql import functions as F

    if not has_set_aside(attempt):
        return {}
    name, conditions = table_name(spark, QUARANTINE, dataset), _expressions(spark)
    condition = getattr(conditions, "and")(
        conditions.equal(RUN_COLUMN, run_id), conditions.equal(ATTEMPT_COLUMN, attempt)
    )
    if not has_files(spark, name, condition):
        return {}
    mine = spark.table(name).where((F.col(RUN_COLUMN) == run_id) & (F.col(ATTEMPT_COLUMN) == attempt))
    return {row[0]: row[1] for row in mine.groupBy(SLICE_COLUMN).count().collect()}


def remove_other_attempts(spark: SparkSession, dataset: str, batch: PublishedBatch) -> None:
    """Remove the rows that other attempts at a published batch have set aside. Those attempts can no longer be
    published, and their rows would look like the batch's."""
    if batch.set_aside is None:
        return
    name, conditions = table_name(spark, QUARANTINE, dataset), _expressions(spark)
    both, either = getattr(conditions, "and"), getattr(conditions, "or")
    # Not "not equal": Iceberg assumes that any file may meet such a condition.
    others = either(
        conditions.lessThan(ATTEMPT_COLUMN, batch.set_aside), conditions.greaterThan(ATTEMPT_COLUMN, batch.set_aside)
    )
    mine = both(conditions.equal(RUN_COLUMN, batch.run_id), conditions.equal(GENERATION_COLUMN, batch.generation))
    if has_files(spark, name, both(mine, others)):
        spark.sql(
            f"DELETE FROM {name} WHERE {RUN_COLUMN} = {literal(batch.run_id)}"
            f" AND {GENERATION_COLUMN} = {int(batch.generation)} AND {ATTEMPT_COLUMN} <> {literal(batch.set_aside)}"
        )


def _expressions(spark: SparkSession) -> Any:
    return java_class(spark, "org.apache.iceberg.expressions.Expressions")
