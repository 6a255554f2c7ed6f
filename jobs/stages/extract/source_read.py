"""The read of one dataset: what its routes, the sweep and the search for differences share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.base import ReadPlan, ReadRequest, Source
from jobs.lake.schema import DELETED, DELETED_COLUMN
from jobs.masking.masks import Masking
from jobs.runs.dataset_run import DatasetRun
from jobs.stages.batch.attempt import Attempt
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.extract.schema_guard import as_planned


@dataclass(frozen=True)
class SourceRead:
    """A dataset that is read: its source and what is asked of it, the plan of the read, and where the rows go.

    `rejection` is NULL for a good row, else why the row is set aside; None if there is no rule.
    """

    run: DatasetRun
    source: Source
    request: ReadRequest
    plan: ReadPlan
    attempt: Attempt
    masking: Masking
    rejection: SparkColumn | None

    @property
    def compares_with_published(self) -> bool:
        """Whether rows that earlier batches hold are left out."""
        return self.plan.overlaps_published and self.run.spec.write_disposition != "replace"

    @contextmanager
    def reading(self, plan: ReadPlan) -> Iterator[None]:
        """Hold the connections with which `plan` is read, and check afterwards that its columns are still the planned
        ones. For the errors see `as_planned`."""
        with as_planned(self.source, self.request, plan), self.source.connections(plan):
            yield

    def land(self, rows: DataFrame) -> DataFrame:
        """Turn rows as the source returned them into rows to append: judged, then masked."""
        landed = as_landed(rows, self.run.dataset.read_columns, self.rejection, self.masking, self.run.spec.primary_key)
        if self.run.spec.deletes != "sweep":
            return landed
        return landed.withColumn(DELETED_COLUMN, F.lit(None).cast(DELETED.spark_type))

    def fingerprint(self, plan: ReadPlan) -> SparkColumn | None:
        """Return the fingerprint of a row as it arrived; None if rows are not compared one by one."""
        if self.run.spec.reconcile != "fingerprint":
            return None
        return self.source.fingerprint(self.request, plan, "row")
