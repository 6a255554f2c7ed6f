"""What the end of a run leaves for `lakeferry status`: which of its failures no further try follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.errors import RunnerFailed
from jobs.lake.documents import open_documents
from jobs.runs.last_failures import end_tries, is_recorded, last_failures, leave_failure, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.runtime.settings import Settings
    from lakeferry_airflow.outcome import RunRecord


def end_run(
    settings: Settings, pipeline: str, run_id: str, warn: Callable[[str], None], record: RunRecord | None = None
) -> None:
    """Leave the failures of the run as its last. A dataset that is owed a receipt and has left no failure had a job
    that died.

    Args:
        warn: takes what goes wrong here, which changes no verdict.
        record: of the run; None where nothing was planned.
    """
    try:
        _end_run(settings, pipeline, run_id, record)
    except Exception as error:  # noqa: BLE001 - what is only shown must not replace the verdict
        warn(missing(error))


def _end_run(settings: Settings, pipeline: str, run_id: str, record: RunRecord | None) -> None:
    documents = open_documents(settings.lake)
    end_tries(documents, pipeline, run_id)
    if record is None:
        return
    owing = [
        (dataset, stage)
        for dataset in record.plan.datasets
        for stage in [next((owed for owed in record.stages if record.owes(dataset, owed)), None)]
        if stage is not None
    ]
    known = last_failures(documents, pipeline) if owing else []
    for dataset, stage in owing:
        if not is_recorded(known, record.plan, dataset):
            died = RunnerFailed("its job left no receipt", pipeline=pipeline, dataset=dataset.name)
            died.fix = f"The log of the task {stage} says why; clear it with downstream"
            leave_failure(documents, record.plan, dataset, stage, died, is_last_try=True)
