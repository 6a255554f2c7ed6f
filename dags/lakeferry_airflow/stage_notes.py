"""What the task of a stage says beside its receipts: rows per dataset, and where the log of its work is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.runs.receipts import STAGES

if TYPE_CHECKING:
    from pydantic import JsonValue

    from jobs.runs.receipts import Stage
    from lakeferry_airflow.outcome import RunRecord, StageOutcome


def rows_by_dataset(outcome: StageOutcome) -> dict[str, dict[str, JsonValue]]:
    """The XCom of a stage's task: what its receipts count, by dataset; what a stage does not count is left out."""
    return {
        name: receipt.model_dump(
            include={"verdict", "batch", "read", "published", "quarantined", "deleted", "loaded", "seconds"},
            exclude_none=True,
        )
        for name, receipt in outcome.receipts.items()
    }


def where_it_ran(record: RunRecord, stage: Stage, through: Stage, try_number: int) -> str:
    """Where a stage was done of which all receipts are there before its task begins.

    Args:
        through: the last stage that the application of the first one goes through.
        try_number: of the task, from 1. A cleared task counts on.
    """
    first = record.stages[0]
    places = ["an earlier try"] if try_number > 1 else []
    if stage != first and STAGES.index(stage) <= STAGES.index(through):
        places.append(f"the application of task {first}")
    where = " or ".join(places) or "another try of this run"
    return f"Task {stage} starts nothing: its work was done in {where}; the log is there"
