"""The last task of a run: the verdict on all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from jobs.reporting.page import leave_summary
from jobs.runtime.settings import load_settings
from lakeferry_airflow.messages import as_airflow_errors, describe
from lakeferry_airflow.outcome import shortfalls, view_shortfalls
from lakeferry_airflow.run_end import end_run
from lakeferry_airflow.stages import DELIVERED, PLAN_TASK, record_of

if TYPE_CHECKING:
    from airflow.sdk import Context

_NAMED_TASKS = 10


class RunResultTask(BaseOperator):
    """The last task: red if a dataset, a view or a task of the run failed, naming it and the error. It also leaves
    the summary of the run, which the status page is drawn from.

    Receipts say what became of the data. A task can fail with all receipts there, so the tasks' states count, too. A
    task that was skipped, or succeeded at a later try, has not failed.
    """

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline

    def execute(self, context: Context) -> None:
        ti = context["ti"]
        if not ti.xcom_pull(task_ids=PLAN_TASK) and not ti.xcom_pull(task_ids=PLAN_TASK, key=DELIVERED):
            with as_airflow_errors():
                end_run(load_settings(), self.pipeline, context["run_id"], self.log.warning)
            raise AirflowFailException(f"pipeline {self.pipeline}: nothing was planned; the task plan says why")
        with as_airflow_errors():
            settings = load_settings()
            record = record_of(context, settings)
            receipts = record.every()
            troubles = [trouble for plan in record.plan.datasets for trouble in shortfalls(record, plan)]
            troubles += view_shortfalls(record)
            failed = _failed_tasks(context)
            if troubles or failed:
                end_run(settings, self.pipeline, record.plan.run_id, self.log.warning, record)
        leave_summary(record.plan.spec, record.plan.run_id, settings, receipts, warn=self.log.warning)
        for plan in record.plan.datasets:
            for stage in record.stages:
                receipt = record.receipt(plan, stage)
                if receipt is not None:
                    self.log.info("%s", describe(receipt))
        for receipt in record.outcome("load").views.values():
            self.log.info("%s", describe(receipt))
        if failed:
            troubles.append(f"failed tasks: {_listed(failed)}" + ("" if troubles else "; their logs say why"))
        if troubles:
            raise AirflowFailException(f"pipeline {self.pipeline}: " + "; ".join(troubles))


def _failed_tasks(context: Context) -> list[str]:
    """The tasks of this run that failed, in order of their names.

    `RuntimeTaskInstance.get_task_states` of the task SDK 1.2 and 1.3 (Airflow 3.2 and 3.3) gives the state of each
    task by its id, of a mapped one by `ID_INDEX`.
    """
    ti, run_id = context["ti"], context["run_id"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
    return sorted(task for task, state in states.items() if state == "failed" and task != ti.task_id)


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED_TASKS
    return ", ".join(names[:_NAMED_TASKS]) + (f" and {more} more" if more > 0 else "")
