"""The last task of a run: the verdict on all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from connectors.errors import LakeferryError
from jobs.settings import load_settings
from lakeferry_airflow.messages import describe, told
from lakeferry_airflow.outcome import shortfalls
from lakeferry_airflow.stages import PLAN_TASK, record_of

if TYPE_CHECKING:
    from airflow.sdk import Context


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
            record.read()
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
