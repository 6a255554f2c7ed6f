"""What a run's stages have done, read from the receipts they left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from connectors.errors import PlanUnreadable, UsageError
from jobs.lake.documents import open_documents
from jobs.runs.plan_document import load_plan, newest_plan_uri
from jobs.runs.receipts import VIEW
from jobs.runs.run_receipts import RunReceipts
from lakeferry_airflow.messages import failure

if TYPE_CHECKING:
    from jobs.runs.plan_document import DatasetPlan, Plan
    from jobs.runs.receipts import Receipt, Stage
    from jobs.runs.run_receipts import Sought
    from jobs.runtime.settings import Settings

_LOADED = ("planned", "empty")
"""States of the datasets at which load looks."""


@dataclass(frozen=True)
class StageOutcome:
    """Receipts of one stage by dataset, and the datasets whose receipt is due and missing.

    Load makes the pipeline's views, too: `views` are their receipts by name, `unmade` the views without one.
    """

    stage: Stage
    receipts: dict[str, Receipt]
    missing: tuple[str, ...]
    views: dict[str, Receipt] = field(default_factory=dict)
    unmade: tuple[str, ...] = ()

    def unmade_since(self, start: datetime | None) -> tuple[str, ...]:
        """Return the views that no job has reached since this moment: what is known of them is from an earlier try.
        None: any time."""
        if start is None:
            return self.unmade
        # Receipts have milliseconds.
        start = start.replace(microsecond=start.microsecond // 1000 * 1000)
        early = [
            receipt.dataset for receipt in self.failed_views if datetime.fromisoformat(receipt.finished_at) < start
        ]
        return (*self.unmade, *early)

    @property
    def failed_views(self) -> tuple[Receipt, ...]:
        return tuple(receipt for receipt in self.views.values() if receipt.verdict == "failed")

    @property
    def failed(self) -> tuple[Receipt, ...]:
        return tuple(receipt for receipt in self.receipts.values() if receipt.verdict == "failed")


class RunRecord:
    """One plan of a run, and its results so far.

    The run's receipts are listed at the first question, and each is read at most once. `refresh` finds the receipts
    that a job leaves after that.
    """

    def __init__(self, settings: Settings, plan_uri: str) -> None:
        self._settings = settings
        self.plan: Plan = load_plan(plan_uri, settings)
        self._receipts = RunReceipts(open_documents(settings.lake), self.plan.pipeline, self.plan.run_id)

    @classmethod
    def newest(cls, settings: Settings, plan_uri: str) -> RunRecord:
        """Return the record of the run's newest generation, for a plan of the run: one listing and one read, and one
        more if there is a newer generation.

        Raises:
            UsageError: the newest generation is for another request.
        """
        newest = newest_plan_uri(plan_uri, settings)
        record = cls(settings, newest)
        if newest != plan_uri:
            # Another version's plan does not say what the run was asked for.
            with suppress(PlanUnreadable):
                check_request(load_plan(plan_uri, settings), record.plan)
        return record

    def refresh(self) -> None:
        """List again what was left since. If a newer generation has left receipts, its plan is read."""
        self._receipts.refresh()
        if self._receipts.generation > self.plan.generation:
            newest = load_plan(newest_plan_uri(self.plan.uri, self._settings), self._settings)
            check_request(self.plan, newest)
            self.plan = newest

    def stages_to(self, last: Stage) -> tuple[Stage, ...]:
        """Return the stages of this plan up to one of them."""
        return self.stages[: self.stages.index(last) + 1]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages this plan goes through, in order."""
        derived = any(dataset.derived for dataset in self.plan.spec.datasets)
        return ("transform" if derived else "extract", "check", "load")

    def receipt(self, dataset: DatasetPlan, stage: Stage) -> Receipt | None:
        return self._receipts.find(dataset.generation, stage, dataset.name)

    def read(self) -> None:
        """Read all receipts of the plan's stages in parallel, ahead of questions about each of them."""
        datasets, stages = self.plan.datasets, self.stages
        self._receipts.find_all((entry.generation, stage, entry.name) for entry in datasets for stage in stages)

    def every(self) -> list[Receipt]:
        """Read all receipts of the run, of every generation, in parallel."""
        return self._receipts.every()

    def outcome(self, stage: Stage) -> StageOutcome:
        """Return what the stage did, and for which datasets its receipt is missing."""
        stage_receipts = self._receipts.find_all((entry.generation, stage, entry.name) for entry in self.plan.datasets)
        receipts = {receipt.dataset: receipt for receipt in stage_receipts}
        # At once, and not one by one below.
        self._receipts.find_all(
            (entry.generation, before, entry.name)
            for entry in self.plan.datasets
            if entry.name not in receipts
            for before in self._before(stage)
        )
        missing = tuple(dataset.name for dataset in self.plan.datasets if self.owes(dataset, stage))
        due = self._views_due() if stage == "load" else ()
        views = {receipt.dataset: receipt for receipt in self._receipts.find_all(due)}
        return StageOutcome(stage, receipts, missing, views, tuple(name for _, _, name in due if name not in views))

    def owes(self, dataset: DatasetPlan, stage: Stage) -> bool:
        """Whether the stage should leave a receipt for the dataset and has not.

        A dataset that an earlier stage stopped gets none. A dataset without anything new gets that of load, which
        brings what earlier runs published and says so if there is nothing to bring.
        """
        states = _LOADED if stage == "load" else ("planned",)
        if dataset.state not in states or self._receipts.has(dataset.generation, stage, dataset.name):
            return False
        return not self._stopped_before(dataset, stage)

    def reachable(self, outcome: StageOutcome) -> tuple[str, ...]:
        """Return those of the missing datasets that the stage before has let through, or had nothing to do for."""
        before = self._before(outcome.stage)
        if not before:
            return outcome.missing
        entries = {dataset.name: dataset for dataset in self.plan.datasets}
        return tuple(
            name
            for name in outcome.missing
            if entries[name].state == "empty" or self._receipts.has(entries[name].generation, before[-1], name)
        )

    def unproved(self, stage: Stage) -> tuple[str, ...]:
        """Return datasets for which the stage still has work, although no receipt is due. Only the exit code of a
        process shows that it left nothing undone there.

        Load looks at datasets that an earlier stage stopped, because earlier runs may have published batches of them.
        Check merges such batches into curated for a dataset without anything new.

        Cost: that of `jobs.runs.pending.resting_behind`, for check alone.
        """
        if stage == "load":
            loaded = [
                dataset for dataset in self._loaded() if not self._receipts.has(dataset.generation, stage, dataset.name)
            ]
            return tuple(dataset.name for dataset in loaded if self._stopped_before(dataset, stage))
        if stage != "check":
            return ()
        # PyIceberg takes long to import, and parsing a DAG needs none of it.
        from jobs.runs.pending import resting_behind

        return tuple(resting_behind(self.plan, self._settings, self._receipts))

    def has_work(self, stage: Stage) -> bool:
        """Whether the stage has anything to do; answers without Spark."""
        if stage == "load":
            # Load brings the warehouse up to everything that is published, by this run or an earlier one.
            if any(not self._receipts.has(dataset.generation, stage, dataset.name) for dataset in self._loaded()):
                return True
            due = self._views_due()
            created = [receipt for receipt in self._receipts.find_all(due) if receipt.verdict != "failed"]
            return len(created) < len(due)
        # PyIceberg takes long to import, and parsing a DAG needs none of it.
        from jobs.runs.pending import is_pending

        return is_pending(self.plan, stage, self._settings, self._receipts)

    def is_complete(self) -> bool:
        """Whether every stage left its receipts and none of them says that it failed."""
        outcomes = [self.outcome(stage) for stage in self.stages]
        return not any(
            outcome.missing or outcome.failed or outcome.unmade or outcome.failed_views for outcome in outcomes
        )

    def _loaded(self) -> list[DatasetPlan]:
        """The datasets at which load looks."""
        return [dataset for dataset in self.plan.datasets if dataset.state in _LOADED]

    def _views_due(self) -> tuple[Sought, ...]:
        """Return the receipts that the pipeline's views owe: load makes them no matter how the datasets ended."""
        views = self.plan.views if self._loaded() else ()
        return tuple((self.plan.generation, VIEW, view.name) for view in views)

    def _stopped_before(self, dataset: DatasetPlan, stage: Stage) -> bool:
        receipts = self._receipts.find_all((dataset.generation, before, dataset.name) for before in self._before(stage))
        return any(receipt.verdict in ("failed", "superseded") for receipt in receipts)

    def _before(self, stage: Stage) -> tuple[Stage, ...]:
        return self.stages[: self.stages.index(stage)]


def check_request(plan: Plan, newest: Plan) -> None:
    """Check that a newer generation of a run is for what the run was asked for. Somebody may have planned another
    request under its id at the command line: what that delivers is not what was asked for here.

    Raises:
        UsageError: it is for something else.
    """
    if not newest.request.is_same_as(plan.request):
        raise UsageError(
            f"run {plan.run_id} was planned for {plan.request}, and somebody has planned it again for {newest.request}",
            pipeline=plan.pipeline,
            fix="Clear the task plan with downstream: it plans again what the run asks for",
        )


def view_shortfalls(record: RunRecord) -> list[str]:
    """Describe the errors of a run's views; empty if all is well."""
    outcome = record.outcome("load")
    failed = [failure(receipt) for receipt in outcome.failed_views]
    return [*failed, *(f"view {name} left no receipt; the task load says why" for name in outcome.unmade)]


def shortfalls(record: RunRecord, plan: DatasetPlan) -> list[str]:
    """Describe what went wrong with a dataset of a run, or is still missing; empty if all is well.

    Only receipts of this dataset are read.
    """
    if plan.failure:
        return [f"plan of dataset {plan.name} failed: {plan.failure.error}"]
    for stage in record.stages:
        receipt = record.receipt(plan, stage)
        if receipt is not None and receipt.verdict == "failed":
            return [failure(receipt)]
        if record.owes(plan, stage):
            return [f"{stage} of dataset {plan.name} left no receipt; the task {stage} says why"]
    return []
