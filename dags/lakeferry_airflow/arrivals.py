"""The outlet of a dataset: its assets have an event where a run brought something new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from connectors.errors import LakeferryError
from jobs.settings import load_settings
from lakeferry_airflow.messages import told
from lakeferry_airflow.outcome import shortfalls
from lakeferry_airflow.stages import record_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from jobs.plan_document import DatasetPlan
    from lakeferry_airflow.outcome import Record


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


def _brought(record: Record, plan: DatasetPlan) -> bool:
    # Load may bring what an earlier run published and could not load.
    check, load = record.receipt(plan, "check"), record.receipt(plan, "load")
    published = check is not None and check.verdict == "done" and check.published != 0
    return published or (load is not None and bool(load.loaded))
