"""What a run's stages have done, read from the receipts they left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.lake.documents import open_documents
from jobs.plan_document import latest_plan, load_plan
from jobs.receipts import Receipts
from lakeferry_airflow.messages import failure

if TYPE_CHECKING:
    from jobs.plan_document import DatasetPlan, Plan
    from jobs.receipts import Receipt, Stage
    from jobs.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """Receipts of one stage by dataset, and the datasets that should have one and have none."""

    stage: Stage
    receipts: dict[str, Receipt]
    missing: tuple[str, ...]

    @property
    def failed(self) -> tuple[Receipt, ...]:
        return tuple(receipt for receipt in self.receipts.values() if receipt.verdict == "failed")


class Record:
    """One plan of a run, and what has become of it so far."""

    def __init__(self, settings: Settings, plan_uri: str) -> None:
        self._settings = settings
        self._receipts = Receipts(open_documents(settings.lake))
        self.plan: Plan = load_plan(plan_uri, settings)

    @classmethod
    def newest(cls, settings: Settings, plan_uri: str) -> Record:
        """The record of the newest generation of the run that the plan is of."""
        record = cls(settings, plan_uri)
        plan = latest_plan(open_documents(settings.lake), record.plan.pipeline, record.plan.run_id)
        record.plan = plan or record.plan
        return record

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages this plan goes through, in order."""
        derived = any(dataset.derived for dataset in self.plan.spec.datasets)
        return ("transform" if derived else "extract", "check", "load")

    def receipt(self, dataset: DatasetPlan, stage: Stage) -> Receipt | None:
        return self._receipts.find(self.plan.pipeline, self.plan.run_id, dataset.generation, stage, dataset.name)

    def outcome(self, stage: Stage) -> Outcome:
        """What the stage did. Only what is planned, and was not stopped in an earlier stage, owes a receipt."""
        receipts: dict[str, Receipt] = {}
        missing = []
        for dataset in self.plan.datasets:
            found = self.receipt(dataset, stage)
            if found is not None:
                receipts[dataset.name] = found
            elif dataset.state == "planned" and not self._stopped_before(dataset, stage):
                missing.append(dataset.name)
        return Outcome(stage, receipts, tuple(missing))

    def reachable(self, outcome: Outcome) -> tuple[str, ...]:
        """Those of the missing datasets that the stage before has let through."""
        before = self.stages[: self.stages.index(outcome.stage)]
        return tuple(
            name
            for name in outcome.missing
            if not before or self.receipt(self.plan.dataset(name), before[-1]) is not None
        )

    def has_work(self, stage: Stage) -> bool:
        """Whether the stage has anything to do; says so without Spark."""
        if stage == "load":
            # Load brings the warehouse up to whatever is published, by this run or an earlier one.
            return any(self.receipt(d, stage) is None for d in self.plan.datasets if d.state in ("planned", "empty"))
        # PyIceberg takes long to import, and parsing a DAG needs none of it.
        from jobs.pending import is_pending

        return is_pending(self.plan, stage, self._settings)

    def is_complete(self) -> bool:
        """Whether every stage left its receipts and none of them says that it failed."""
        outcomes = [self.outcome(stage) for stage in self.stages]
        return not any(outcome.missing or outcome.failed for outcome in outcomes)

    def _stopped_before(self, dataset: DatasetPlan, stage: Stage) -> bool:
        earlier = self.stages[: self.stages.index(stage)]
        found = (self.receipt(dataset, before) for before in earlier)
        return any(receipt is not None and receipt.verdict in ("failed", "superseded") for receipt in found)


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
