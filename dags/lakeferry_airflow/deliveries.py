"""What a run did for one dataset, judged by the plan and the receipts.

`delivered` is a success. `nothing` (not asked for, skipped by the window, nothing new) is what Airflow shows as
skipped, with the reason. `failed` is all else: what was asked for and did not arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from connectors.errors import CheckFailed
from jobs.runs.stage_results import Proved
from lakeferry_airflow.outcome import shortfalls

if TYPE_CHECKING:
    from pydantic import JsonValue

    from jobs.runs.plan_document import DatasetPlan
    from jobs.runs.receipts import Receipt
    from lakeferry_airflow.outcome import RunRecord

# An empty batch of these removes rows: it replaces what was there before by nothing.
_REPLACING = ("replace", "overwrite_partitions")
# A check that fails by its expectations has written Data Docs, and its receipt has no details.
_PROVED_WRONG = CheckFailed.__name__


@dataclass(frozen=True)
class Delivery:
    """What a run did for one dataset. Counts are of rows; None if no stage counted them. `snapshot` is the lake's,
    `batch` that of its log. `began_at` is when the first of its stages left its receipt."""

    dataset: str
    state: Literal["delivered", "nothing", "failed"]
    reason: str
    generation: int = 0
    batch: int | None = None
    read: int | None = None
    published: int | None = None
    quarantined: int | None = None
    loaded: int | None = None
    window_start: str | None = None
    window_end: str | None = None
    snapshot: str | None = None
    seconds: float = 0.0
    began_at: str | None = None
    has_data_docs: bool = False

    def rows(self) -> dict[str, JsonValue]:
        """The XCom of the dataset's task."""
        return {
            "dataset": self.dataset,
            "state": self.state,
            "batch": self.batch,
            "read": self.read,
            "published": self.published,
            "quarantined": self.quarantined,
            "loaded": self.loaded,
            "seconds": self.seconds,
        }

    def extra(self, run_id: str) -> dict[str, JsonValue]:
        """The content of the dataset's asset events."""
        return {
            "run": run_id,
            "generation": self.generation,
            "batch": self.batch,
            "rows": self.published,
            "window_start": self.window_start,
            "window_end": self.window_end,
            "snapshot": self.snapshot,
        }


def delivery_of(record: RunRecord, dataset: str) -> Delivery:
    """Return the delivery of one of the pipeline's datasets, even if the run was not asked for it."""
    plan = next((entry for entry in record.plan.datasets if entry.name == dataset), None)
    if plan is None:
        return Delivery(dataset, "nothing", "it was not asked for")
    if plan.state == "skipped":
        return Delivery(dataset, "nothing", f"it was skipped: {plan.reason}", plan.generation)
    troubles = shortfalls(record, plan)
    if troubles:
        return _counted(record, plan, "failed", "; ".join(troubles))
    why = _nothing_new(record, plan)
    return _counted(record, plan, "nothing", why) if why else _counted(record, plan, "delivered", "it was delivered")


def earlier_delivery(record: RunRecord, dataset: str) -> Delivery | None:
    """Return the delivery of the dataset by an earlier generation of the run's plan; None if it delivered nothing.

    A dataset that each run reads whole is planned again when its run is cleared. It may then have nothing new, although
    the generation before has delivered it. Cost: two receipts per earlier generation of the dataset.
    """
    plan = next((entry for entry in record.plan.datasets if entry.name == dataset), None)
    if plan is None:
        return None
    for generation in range(plan.generation - 1, 0, -1):
        before = plan.model_copy(update={"generation": generation})
        check, load = (record.receipt(before, stage) for stage in ("check", "load"))
        if check is None or check.verdict != "done" or load is None or load.verdict == "failed":
            continue
        if _nothing_new(record, before) is None:
            return _counted(record, before, "delivered", f"generation {generation} of this run delivered it")
    return None


def _nothing_new(record: RunRecord, plan: DatasetPlan) -> str | None:
    check, load = record.receipt(plan, "check"), record.receipt(plan, "load")
    # Load may bring what an earlier run published and could not load.
    if load is not None and load.loaded:
        return None
    if check is None or check.verdict == "empty":
        return "nothing new"
    if check.verdict == "superseded":
        return "another run published the same rows first"
    replacing = record.plan.dataset_spec(plan.name).write_disposition in _REPLACING
    if check.published == 0 and not replacing:
        return f"no new row was published: {check.quarantined or 0} of {check.read or 0} rows are in quarantine"
    return None


def _counted(
    record: RunRecord, plan: DatasetPlan, state: Literal["delivered", "nothing", "failed"], reason: str
) -> Delivery:
    receipts = [receipt for stage in record.stages if (receipt := record.receipt(plan, stage)) is not None]
    by_stage: dict[str, Receipt] = {receipt.stage: receipt for receipt in receipts}
    first, check, load = (by_stage.get(stage) for stage in record.stages)
    proved = check or first
    result = check.result(Proved) if check else None
    # If this run published nothing, load may have brought the batch of an earlier one.
    own = check is not None and check.verdict == "done"
    published = check.published if check and own else load.published if load else None
    return Delivery(
        plan.name,
        state,
        reason,
        generation=plan.generation,
        batch=check.batch if check and own else load.batch if load else None,
        read=first.read if first else None,
        published=published,
        quarantined=proved.quarantined if proved else None,
        loaded=load.loaded if load else None,
        window_start=_first(receipts, "window_start"),
        window_end=_first(receipts, "window_end"),
        snapshot=str(result.snapshot_id) if result and result.snapshot_id is not None else None,
        seconds=round(sum(receipt.seconds for receipt in receipts), 3),
        began_at=min((receipt.finished_at for receipt in receipts), key=datetime.fromisoformat, default=None),
        has_data_docs=check is not None and (bool(result and result.data_docs) or check.error_type == _PROVED_WRONG),
    )


def _first(receipts: list[Receipt], field: str) -> str | None:
    return next((value for receipt in receipts if (value := getattr(receipt, field)) is not None), None)
