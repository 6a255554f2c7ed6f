"""One dataset in one run: what a stage works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.base import ReadRequest, Source
from connectors.errors import LakeAltered
from jobs.runs.context import RunContext
from jobs.runs.plan_document import DatasetPlan
from jobs.runs.receipts import Receipt, Stage, Verdict
from jobs.runs.source import request_of, source_of
from jobs.spec.models import DatasetSpec

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class DatasetRun:
    """A dataset's entry in a plan, with what the datasets of the run share."""

    context: RunContext
    dataset: DatasetPlan

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    @property
    def run_id(self) -> str:
        return self.context.plan.run_id

    @property
    def spec(self) -> DatasetSpec:
        return self.context.plan.dataset_spec(self.dataset.name)

    @property
    def spark(self) -> SparkSession:
        """The application's session; its first use opens it."""
        return self.context.spark

    def source(self) -> Source:
        """Open the dataset's source; nothing is contacted yet."""
        return source_of(self.context.plan.spec, self.context.settings)

    @property
    def request(self) -> ReadRequest:
        """What the source needs to know of the dataset."""
        return request_of(self.context.plan.spec, self.spec)

    def raw_table(self) -> Table:
        """Return the raw table as it stands now; it was created before rows of it were read.

        Raises:
            ServiceUnavailable: the lake or its catalog does not answer.
            LakeAltered: somebody dropped or renamed it since.
        """
        from jobs.lake.catalog import find_table
        from jobs.lake.names import RAW

        table = find_table(self.context.catalog, RAW, self.name)
        if table is None:
            raise LakeAltered(
                f"raw.{self.name} was dropped or renamed from outside while a batch was on its way into it",
                fix="Restore the table, then run again",
            )
        return table

    def new_receipt(self, stage: Stage, verdict: Verdict, **fields: Any) -> Receipt:
        """Create a receipt for the dataset; `fields` are further fields of `Receipt`."""
        window = self.dataset.window
        own = {
            "batch": self.dataset.batch,
            "window_start": window.start if window else None,
            "window_end": window.end if window else None,
        }
        return Receipt(
            pipeline=self.context.plan.pipeline,
            run_id=self.run_id,
            generation=self.dataset.generation,
            stage=stage,
            dataset=self.name,
            verdict=verdict,
            **(own | fields),
        )

    def receipt(self, stage: Stage) -> Receipt | None:
        """Return the receipt that a stage has left for the dataset, or None."""
        plan = self.context.plan
        return self.context.receipts.find(plan.pipeline, plan.run_id, self.dataset.generation, stage, self.name)
