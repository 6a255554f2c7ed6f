"""What a run brought: an outlet for each dataset, and the verdict on the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from connectors.errors import LakeferryError
from jobs.settings import load_settings
from lakeferry_airflow.messages import describe, failure, told
from lakeferry_airflow.stages import PLAN_TASK, record_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from jobs.plan_document import DatasetPlan
    from lakeferry_airflow.outcome import Record


def lake_asset(dataset: str) -> Asset:
    """The asset of a dataset in the lake: what derived pipelines are scheduled after."""
    return Asset(name=f"lake.{dataset}", uri=f"x-lakeferry://lake/{dataset}", group="lake")


def warehouse_asset(project: str, table: str) -> Asset:
    """The asset of a BigQuery table `dataset.name`."""
    dataset, name = table.split(".")
    return Asset(name=f"bigquery.{table}", uri=f"bigquery://{project}/{dataset}/{name}", group="bigquery")


class Arrival(BaseOperator):
    """The outlet of one dataset: emits its assets where this run brought something new."""

    def __init__(self, *, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset

    def execute(self, context: Context) -> None:
        try:
            record = record_of(context, load_settings())
            plan = next((entry for entry in record.plan.datasets if entry.name == self.dataset), None)
            if plan is None:
                raise AirflowSkipException(f"dataset {self.dataset} was not asked for")
            if plan.state == "skipped":
                raise AirflowSkipException(f"dataset {self.dataset} was skipped: {plan.reason}")
            troubles = shortfalls(record, plan)
            if troubles:
                raise AirflowFailException("; ".join(troubles))
            if not _brought(record, plan):
                raise AirflowSkipException(f"nothing new of dataset {self.dataset}")
        except LakeferryError as error:
            raise told(error) from None


class Verdict(BaseOperator):
    """The last task: red if any dataset failed anywhere, naming it and the error. It also refreshes the status page."""

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline

    def execute(self, context: Context) -> None:
        # Imported here: parsing a DAG draws no page.
        from jobs.page import refresh_page

        try:
            refresh_page(load_settings())
        except LakeferryError as error:
            raise told(error) from None
        self._judge(context)

    def _judge(self, context: Context) -> None:
        if not context["ti"].xcom_pull(task_ids=PLAN_TASK):
            raise AirflowFailException(f"pipeline {self.pipeline}: nothing was planned; the task plan says why")
        try:
            record = record_of(context, load_settings())
            troubles = [trouble for plan in record.plan.datasets for trouble in shortfalls(record, plan)]
        except LakeferryError as error:
            raise told(error) from None
        for plan in record.plan.datasets:
            for stage in record.stages:
                receipt = record.receipt(plan, stage)
                if receipt is not None:
                    self.log.info("%s", describe(receipt))
        if troubles:
            raise AirflowFailException(f"pipeline {self.pipeline}: " + "; ".join(troubles))


def shortfalls(record: Record, plan: DatasetPlan) -> list[str]:
    """What went wrong with a dataset of a run, or is still missing; empty where all is well."""
    if plan.failure:
        return [f"plan of dataset {plan.name} failed: {plan.failure.error}"]
    for stage in record.stages:
        receipt = record.receipt(plan, stage)
        if receipt is not None and receipt.verdict == "failed":
            return [failure(receipt)]
        if plan.name in record.outcome(stage).missing:
            return [f"{stage} of dataset {plan.name} left no receipt; the task {stage} says why"]
    return []


def _brought(record: Record, plan: DatasetPlan) -> bool:
    # Load may bring what an earlier run published and could not load.
    check, load = record.receipt(plan, "check"), record.receipt(plan, "load")
    published = check is not None and check.verdict == "done" and check.published != 0
    return published or (load is not None and bool(load.loaded))
