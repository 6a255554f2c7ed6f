"""Whether a stage of a plan has anything left to do: no Spark is started to find out that it has not."""

from __future__ import annotations

from jobs.lake.batches import consumed_batch, last_published, published_batches
from jobs.lake.catalog import find_table, open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.names import CURATED, RAW
from jobs.plan_document import DatasetPlan, Plan
from jobs.receipts import Receipt, Receipts, Stage
from jobs.settings import Settings


def is_pending(plan: Plan, stage: Stage, settings: Settings) -> bool:
    """Whether `stage` still has work for any dataset of the plan, as its receipts and the lake say.

    `load` always has: only the warehouse knows how far it has come.
    """
    if stage == "load":
        return True
    receipts = Receipts(open_documents(settings.lake))

    def left(dataset: DatasetPlan, by: Stage) -> Receipt | None:
        return receipts.find(plan.pipeline, plan.run_id, dataset.generation, by, dataset.name)

    if stage in ("extract", "transform"):
        return any(dataset.state == "planned" and left(dataset, stage) is None for dataset in plan.datasets)
    for dataset in plan.datasets:
        first: Stage = "transform" if plan.dataset_spec(dataset.name).derived else "extract"
        made = left(dataset, first)
        if made is not None and made.verdict in ("done", "empty") and left(dataset, "check") is None:
            return True
    return any(curated_is_behind(dataset.name, settings) for dataset in plan.datasets if dataset.state == "empty")


def curated_is_behind(dataset: str, settings: Settings) -> bool:
    """Whether a published batch has not been merged into the current state: a run died in between."""
    catalog = open_catalog(settings)
    last = last_published(find_table(catalog, RAW, dataset))
    return last is not None and last.batch > consumed_batch(find_table(catalog, CURATED, dataset))


def is_published(plan: Plan, dataset: DatasetPlan, settings: Settings) -> bool:
    """Whether `main` of a dataset holds this plan's batch. A driver that dies just behind publishing leaves no receipt
    that says so."""
    raw = find_table(open_catalog(settings), RAW, dataset.name)
    ours = (plan.run_id, dataset.generation)
    return any((batch.run_id, batch.generation) == ours for batch in published_batches(raw))
