"""The DAG of a pipeline, built from its spec. Building opens no connection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from jobs.runs.time_limits import time_limits
from lakeferry_airflow.bundle import folder_variables
from lakeferry_airflow.dag_names import dag_id_of
from lakeferry_airflow.dag_options import arguments_of_yaml, task_arguments
from lakeferry_airflow.dataset_group import add_datasets
from lakeferry_airflow.documentation import documentation
from lakeferry_airflow.run_form import run_params
from lakeferry_airflow.scheduling import schedule_of
from lakeferry_airflow.stages import PLAN_TASK, PlanStage, SubmittedStage
from lakeferry_airflow.task_notes import NOTES
from lakeferry_airflow.verdict import RunResultTask

if TYPE_CHECKING:
    from jobs.runs.receipts import Stage
    from jobs.runtime.settings import Settings
    from jobs.spec.models import PipelineSpec

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
# A failed stage must not keep the next from the datasets that passed: each task decides by receipts.
_WHATEVER_CAME_BEFORE = "all_done"


def build_dag(spec: PipelineSpec, settings: Settings, **dag_arguments: Any) -> DAG:
    """The DAG of a pipeline: plan → extract or transform → check → load → verdict, and the datasets beside.

    Args:
        dag_arguments: arguments of Airflow's `DAG`, which go before those of the pipeline's YAML and the settings;
            `default_args` one by one.

    Raises:
        SpecError: a notifier of the YAML cannot be built.
    """
    connections = spec.connections
    limits = time_limits(spec, settings)
    first: Stage = "transform" if spec.source is None else "extract"
    names = [dataset.name for dataset in spec.datasets]
    folders = folder_variables(settings)
    default_args = {
        "retries": settings.task_retries,
        "retry_delay": timedelta(seconds=settings.task_retry_delay_seconds),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": limits.run.delta,
        # By `downstream` every pipeline would plan before any extracts, and TiDB's snapshots would grow old.
        "weight_rule": "upstream",
        **task_arguments(spec.airflow),
        **dag_arguments.pop("default_args", {}),
    }
    arguments: dict[str, Any] = {
        "dag_id": dag_id_of(spec.pipeline, settings),
        "description": spec.description or None,
        "schedule": schedule_of(spec, settings),
        "start_date": _BEGINNING,
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": limits.run.delta,
        "is_paused_upon_creation": settings.dags_paused,
        # A DAG that fails while it is built must not be registered; those that are built are globals of the DAG file.
        "auto_register": False,
        "doc_md": documentation(spec, settings),
        **arguments_of_yaml(spec),
        **dag_arguments,
    }
    with DAG(**arguments, default_args=default_args) as dag:
        plan = PlanStage(
            task_id=PLAN_TASK,
            doc_md=NOTES[PLAN_TASK],
            pipeline=spec.pipeline,
            datasets=names,
            connections=connections,
            limit=limits.plan,
            folders=folders,
        )
        stages = [
            SubmittedStage(
                task_id=stage,
                doc_md=NOTES[stage],
                pipeline=spec.pipeline,
                stage=stage,
                datasets=names,
                connections=connections,
                limit=limits.stage,
                folders=folders,
                trigger_rule=_WHATEVER_CAME_BEFORE,
            )
            for stage in _stages(first)
        ]
        verdict = RunResultTask(
            task_id="verdict", doc_md=NOTES["verdict"], pipeline=spec.pipeline, trigger_rule=_WHATEVER_CAME_BEFORE
        )
        previous: Any = plan
        for following in stages:
            previous >> following
            previous = following
        # Datasets may end while the stages still run.
        [previous, add_datasets(spec, settings, plan, previous)] >> verdict
    # A task copies the params that its DAG has when the task is made, and Airflow would validate every copy: of a
    # DAG's serialization that was nine tenths. A run merges the DAG's params by itself (`process_params`).
    dag.params.update(run_params(spec))
    return dag


def _stages(first: Stage) -> tuple[Stage, ...]:
    return (first, "check", "load")
