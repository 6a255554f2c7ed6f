"""The links of a task in the web UI.

The web server reads no lake and imports nothing of this package. Airflow serializes the name of a link and the key of
an XCom (`XComOperatorLink` in airflow/serialization/definitions/operatorlink.py). The task pushes the address there:
`finalize` in airflow/sdk/execution_time/task_runner.py asks each link of a task that has ended or deferred. So the
links need no plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from jobs.reporting.page.write import ENGLISH_KEY
from jobs.runs.receipts import data_docs_key, safe_run_id
from lakeferry_airflow.addresses import emr_job, in_lake

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from jobs.runtime.settings import Settings
    from lakeferry_airflow.deliveries import Delivery
    from lakeferry_airflow.outcome import RunRecord


class TaskLink(BaseOperatorLink):
    """A link whose address the task keeps in `addresses`, by the link's name."""

    name = ""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        addresses: dict[str, str] = getattr(operator, "addresses", {})
        return addresses.get(self.name, "")


class StatusPageLink(TaskLink):
    name = "Status page"


class ReceiptsLink(TaskLink):
    name = "Receipts"


class DataDocsLink(TaskLink):
    name = "Data Docs"


class TableLink(TaskLink):
    name = "BigQuery table"


class JobLink(TaskLink):
    name = "EMR job"


RUN_LINKS = (StatusPageLink(), ReceiptsLink())
STAGE_LINKS = (*RUN_LINKS, JobLink())
DATASET_LINKS = (*RUN_LINKS, DataDocsLink(), TableLink())


def run_addresses(settings: Settings, record: RunRecord) -> dict[str, str]:
    """Return the addresses that every task of a run links to, by the name of the link."""
    run = safe_run_id(record.plan.run_id)
    return {
        StatusPageLink.name: in_lake(settings, ENGLISH_KEY),
        ReceiptsLink.name: in_lake(settings, f"receipts/{record.plan.pipeline}/{run}/"),
    }


def data_docs_address(settings: Settings, record: RunRecord, delivery: Delivery) -> str:
    """Return the address of the Data Docs that the check of this run wrote."""
    key = data_docs_key(record.plan.pipeline, delivery.dataset, record.plan.run_id, delivery.generation)
    return in_lake(settings, key)


def show_job(context: Context, addresses: dict[str, str], settings: Settings, job_id: str) -> None:
    """Link to the EMR job now: Airflow asks for a link only once the task has ended or deferred."""
    if settings.runner != "emr_serverless":
        return
    addresses[JobLink.name] = emr_job(settings, job_id)
    ti: Any = context["ti"]
    ti.xcom_push(key=JobLink().xcom_key, value=addresses[JobLink.name])
