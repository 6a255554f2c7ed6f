"""Decides how much of a run's newest plan stands when the run is asked for again.

A retry asks nothing new: what is done stays, what failed is planned again. A request for something else (another
window, other datasets) is a new question, and nothing of the old answer stands. Airflow may carry out a finished run
once more, because somebody cleared it or created it again. Then a window is moved again. A dataset that moved the
position stays as it is: its rows are delivered, and the published position is behind them.

A plan holds the spec, the rules and the views under which it was planned, and planning compares a spec with the lake
(keys, masks, types). So an unfinished entry goes into a plan under another spec only if the spec and the rules of its
dataset are the same. A retry of a task keeps the whole plan. A new invocation of the run gets the files of today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from connectors.errors import PlanUnreadable
from jobs.lake.documents import Documents
from jobs.runs.plan_document import DatasetPlan, FrozenView, Plan, latest_generation, read_generation
from jobs.runs.receipts import STAGES, VIEW, Receipt, Stage
from jobs.runs.run_receipts import RunReceipts
from jobs.runs.run_request import Invocation, RunRequest
from jobs.runtime.events import event
from jobs.spec.models import DatasetSpec, PipelineSpec
from jobs.stages.plan.frozen_files import PipelineFiles

_PAST_WINDOW = "To move a past window, ask for it with start and end"


@dataclass(frozen=True)
class Standing:
    """The part of a run's newest plan that stands.

    `generation` is the number of the newest plan, 0 before the first. `plan` is that plan if it was read. `entries` are
    those of its entries that stand. `unfinished`: the run goes on with what it was asked for before. `spec_changed`:
    the entries stand under another spec than the plan's, so the plan itself does not. `delivered` says, for each
    dataset that is not moved again, what moved it and when.
    """

    generation: int
    plan: Plan | None = None
    entries: tuple[DatasetPlan, ...] = ()
    unfinished: bool = False
    spec_changed: bool = False
    delivered: Mapping[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> Plan | None:
        """The newest plan, if all of it stands."""
        if self.plan is None or self.spec_changed or len(self.entries) < len(self.plan.datasets):
            return None
        return self.plan


def standing_entries(
    documents: Documents,
    spec: PipelineSpec,
    run_id: str,
    request: RunRequest,
    invocation: Invocation,
    *,
    files: PipelineFiles,
    moved_only: bool = False,
) -> Standing:
    """Return what stands of a run's newest plan for this request, and the pipeline's spec and `files` of today.

    With `moved_only` a failure stands unless the lake or the source moved: only then would the same plan not fail again
    in the same way.

    A plan that an earlier version wrote is not relied on: the next generation is planned.

    Raises:
        UsageError: a later version of Lakeferry wrote the plan.
    """
    pipeline = spec.pipeline
    generation = latest_generation(documents, pipeline, run_id)
    if not generation:
        return Standing(0)
    try:
        plan = read_generation(documents, pipeline, run_id, generation)
    except PlanUnreadable as error:
        event("note", stage="plan", dataset=pipeline, note=f"planned afresh: {error}")
        return Standing(generation)
    if not plan.request.is_same_as(request):
        note = f"this run was planned for {plan.request}; it is planned again for {request}"
        event("note", stage="plan", dataset=pipeline, note=note)
        return Standing(generation, plan)
    progress = Progress(plan, documents)
    failed = progress.was_moved if moved_only else progress.has_failed
    entries = tuple(entry for entry in plan.datasets if not failed(entry))
    if len(entries) < len(plan.datasets) or not progress.is_complete():
        if len(entries) == len(plan.datasets) and invocation.is_retry_of(plan.invocation):
            return Standing(generation, plan, entries)
        return _under_spec_of_today(Standing(generation, plan, entries, unfinished=True), plan, spec, progress, files)
    if invocation.is_other_than(plan.invocation):
        if request.has_window:
            return Standing(generation, plan)
        entries = tuple(entry for entry in entries if progress.has_moved_position(entry))
    return Standing(
        generation,
        plan,
        entries,
        delivered={entry.name: text for entry in entries if (text := progress.delivery_text(entry))},
    )


def _under_spec_of_today(
    standing: Standing, plan: Plan, spec: PipelineSpec, progress: Progress, files: PipelineFiles
) -> Standing:
    today = {dataset.name: dataset for dataset in spec.datasets}
    same_source = plan.spec.source == spec.source and plan.spec.mask_key == spec.mask_key
    changed = [
        entry.name
        for entry in standing.entries
        if not progress.is_finished(entry)
        if not same_source
        or _differs(plan.dataset_spec(entry.name), today.get(entry.name))
        # An entry that could not be planned has no rules.
        or (entry.failure is None and files.rules_of(today[entry.name]) != entry.rules)
    ]
    note = "planned afresh: its spec or its rules have changed since the run was planned"
    for name in filter(today.get, changed):
        event("note", stage="plan", dataset=name, note=note)
    return replace(
        standing,
        entries=tuple(entry for entry in standing.entries if entry.name not in changed),
        spec_changed=bool(changed) or _texts(plan.views) != _texts(files.views),
    )


def _texts(views: Sequence[FrozenView]) -> list[tuple[object, ...]]:
    """Return what load creates of the views. The text of a failure may name a folder of one machine."""
    return [(view.name, view.description, view.sql) for view in views]


def _differs(planned: DatasetSpec, today: DatasetSpec | None) -> bool:
    # Compared as documents: one of the two was read from a plan.
    return today is None or _of_rows(planned) != _of_rows(today)


def _of_rows(spec: DatasetSpec) -> dict[str, Any]:
    """Return the part of a spec that concerns rows."""
    return spec.model_dump(mode="json", exclude={"description"})


class Progress:
    """How far a plan has come, by the receipts of its entries: one listing, and each receipt is read once."""

    def __init__(self, plan: Plan, documents: Documents) -> None:
        self.plan = plan
        self._receipts = RunReceipts(documents, plan.pipeline, plan.run_id)
        self._receipts.find_all((entry.generation, stage, entry.name) for entry in plan.datasets for stage in STAGES)

    def receipt(self, entry: DatasetPlan, stage: Stage) -> Receipt | None:
        return self._receipts.find(entry.generation, stage, entry.name)

    def has_failed(self, entry: DatasetPlan) -> bool:
        """Whether it could not be planned, or a stage left a receipt that says that it failed."""
        receipts = (self.receipt(entry, stage) for stage in STAGES)
        return entry.failure is not None or any(
            receipt is not None and receipt.verdict == "failed" for receipt in receipts
        )

    def was_moved(self, entry: DatasetPlan) -> bool:
        """Whether a stage left a receipt that says that the lake or the source moved under it."""
        if entry.failure is not None:
            if entry.failure.recovery == "plan_again":
                return True
            # A stage planned it again, and something outside failed for now. The first plan is the task `plan`'s.
            return entry.failure.may_pass and entry.generation > 1
        receipts = (self.receipt(entry, stage) for stage in STAGES[1:])
        return any(receipt is not None and receipt.recovers_by == "plan_again" for receipt in receipts)

    def is_complete(self) -> bool:
        """Whether every dataset that the plan moves has passed the last stage, all views are created, and nothing
        failed.
        """
        return self._views_are_created() and all(self.is_finished(entry) for entry in self.plan.datasets)

    def is_finished(self, entry: DatasetPlan) -> bool:
        """Whether the entry has passed the last stage, or the plan does not move it."""
        return entry.state == "skipped" or (self.receipt(entry, "load") is not None and not self.has_failed(entry))

    def _views_are_created(self) -> bool:
        views = [(self.plan.generation, VIEW, view.name) for view in self.plan.views]
        receipts = self._receipts.find_all(views)
        return len(receipts) == len(views) and all(receipt.verdict != "failed" for receipt in receipts)

    def has_moved_position(self, entry: DatasetPlan) -> bool:
        """Whether the entry's batch is published and a later read begins behind it. A dataset that each run reads whole
        has no position behind which a read could begin."""
        return self._delivery(entry) is not None and self._reads_on(entry)

    def delivery_text(self, entry: DatasetPlan) -> str | None:
        """Return when and as which batch the entry was delivered, and how to move a past window; None if it was not."""
        delivery = self._delivery(entry)
        if delivery is None:
            return None
        at = datetime.fromisoformat(delivery.finished_at).astimezone(UTC)
        window = entry.window
        reach = f" ({window.start or 'the beginning'} to {window.end or 'now'})" if window else ""
        text = f"delivered on {at:%Y-%m-%d} at {at:%H:%M} UTC as batch {delivery.batch}{reach}; nothing is moved twice"
        if self.plan.dataset_spec(entry.name).derived:
            return f"{text}. It follows its inputs: the next run builds what has changed in them"
        if self.plan.request.has_window or not self._reads_on(entry):
            return f"{text}. To read it again, clear the run in Airflow, or begin a new one"
        return f"{text}. {_PAST_WINDOW}"

    def _delivery(self, entry: DatasetPlan) -> Receipt | None:
        checked = self.receipt(entry, "check")
        return checked if checked is not None and checked.verdict == "done" else None

    def _reads_on(self, entry: DatasetPlan) -> bool:
        spec = self.plan.dataset_spec(entry.name)
        return spec.derived or self.plan.spec.source_options(spec).continued_by is not None


def delivered(plan: Plan, invocation: Invocation, documents: Documents) -> str | None:
    """Return why a run that is carried out once more moves nothing: its plan is complete, and was not planned again.
    None if it has something to do, or if this very invocation planned it."""
    if not invocation.is_other_than(plan.invocation):
        return None
    progress = Progress(plan, documents)
    texts = [f"{entry.name}: {text}" for entry in plan.datasets if (text := progress.delivery_text(entry))]
    if not texts or not progress.is_complete():
        return None
    more = f" Nor are {len(texts) - _MOST_NAMED} more datasets moved again." if len(texts) > _MOST_NAMED else ""
    return ". ".join(texts[:_MOST_NAMED]) + "." + more


_MOST_NAMED = 5
