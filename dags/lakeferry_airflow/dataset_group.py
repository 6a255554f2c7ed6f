"""Where the datasets stand in a DAG: a group with a task per dataset, or one task where there are many.

Tasks are not mapped. A dataset keeps its row, and so its history, in the grid of all runs, whichever datasets a run was
asked for, and its outlets are drawn in Airflow's graph of assets. A group of more than 50 rows is no longer read:
a table in one task's log is easier to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from jobs.runs.time_limits import time_limits
from lakeferry_airflow.assets import MOST_TASKS, lake_asset, pipeline_alias, warehouse_asset
from lakeferry_airflow.dataset_tasks import DatasetsTask, DatasetTask
from lakeferry_airflow.task_notes import NOTES, note_of_dataset

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from jobs.runtime.settings import Settings
    from jobs.spec.models import DatasetSpec, PipelineSpec

GROUP = "datasets"


def add_datasets(spec: PipelineSpec, settings: Settings, plan: Any, last_stage: Any) -> Any:
    """Add the datasets to the DAG that is being built, behind the task `plan` and the last stage's task.

    With a triggerer they start as soon as either of the two has ended, which is `plan`: they watch the stages. They
    are downstream of the last stage all the same: clearing a stage with downstream clears them as well.
    Without one they start behind the last stage.

    Returns:
        What the verdict comes after.
    """
    watching: dict[str, Any] = {
        "deferrable": settings.triggerer,
        "limit": time_limits(spec, settings).run,
        "trigger_rule": "one_done" if settings.triggerer else "all_done",
        # They only watch: where slots are short, stages go first.
        "weight_rule": "absolute",
        "priority_weight": 1,
    }
    if len(spec.datasets) > MOST_TASKS:
        datasets: Any = DatasetsTask(
            task_id=GROUP,
            doc_md=NOTES[GROUP],
            assets={dataset.name: _assets(dataset, settings) for dataset in spec.datasets},
            alias=pipeline_alias(spec.pipeline, settings),
            **watching,
        )
    else:
        with TaskGroup(group_id=GROUP, tooltip="What became of each dataset") as datasets:
            for dataset in spec.datasets:
                DatasetTask(
                    task_id=dataset.name,
                    doc_md=note_of_dataset(dataset.description),
                    dataset=dataset.name,
                    table=dataset.bigquery.table,
                    outlets=_assets(dataset, settings),
                    **watching,
                )
    plan >> datasets
    last_stage >> datasets
    return datasets


def _assets(dataset: DatasetSpec, settings: Settings) -> list[Asset]:
    return [lake_asset(dataset.name, settings), warehouse_asset(dataset.bigquery.table, settings)]
