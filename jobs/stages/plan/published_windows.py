"""Windows that a run has published and not loaded: planned again, they would be read and published a second time.

A read from the position begins behind what is published. A window does not. So where a run goes on that was asked for a
window, a dataset whose rows it has published already is planned as one without anything new: load brings what is
published, and the planner compares the spec with source and lake as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from connectors.base import Window
from jobs.lake.batch_log import PublishedBatch
from jobs.runs.pending import is_published
from jobs.runs.plan_document import DatasetPlan
from jobs.runtime.settings import Settings
from jobs.stages.plan.replanning import Standing


def published_windows(standing: Standing, settings: Settings) -> Mapping[str, int]:
    """The datasets that are planned again though the run has published their window, and the generation that did.

    Cost: one look at the catalog per dataset that is planned again for a window.
    """
    plan = standing.plan
    if plan is None or not standing.unfinished or not plan.request.has_window:
        return {}
    kept = {entry.name for entry in standing.entries}
    return {
        entry.name: entry.published_in or entry.generation
        for entry in plan.datasets
        if entry.name not in kept and (entry.published_in or is_published(plan, entry, settings))
    }


def windows_in_log(
    run_id: str,
    window: Window,
    planned: Mapping[str, DatasetPlan],
    published: Callable[[str], Sequence[PublishedBatch]],
) -> Mapping[str, int]:
    """The same for a run whose earlier plan an earlier version wrote: raw's log says what the run has published.

    Args:
        planned: the datasets as they would be planned now.
        published: returns the batches of a dataset.
    """
    batches: dict[str, int] = {}
    for name, entry in planned.items():
        if entry.state not in ("planned", "empty") or entry.window is None:
            continue
        for batch in published(name):
            # A window without an end was closed at the time of the plan.
            is_same_end = window.end is None or batch.window_end == entry.window.end
            is_same_window = batch.window_start == entry.window.start and is_same_end
            if batch.run_id == run_id and not batch.moved_position and is_same_window:
                batches[name] = batch.generation
    return batches


def load_only(entry: DatasetPlan, published_in: int) -> DatasetPlan:
    """The plan of a dataset whose window is published: nothing is read. What is wrong with it stays wrong."""
    if entry.state not in ("planned", "empty"):
        return entry
    return entry.model_copy(
        update={
            "state": "empty",
            "reason": "its window is published; only load is left",
            "published_in": published_in,
            "source": entry.source.model_copy(update={"slices": ()}) if entry.source else None,
        }
    )
