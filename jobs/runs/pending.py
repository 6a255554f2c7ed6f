"""Finds out, without starting Spark, whether a stage of a plan still has work to do."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.catalog import Catalog

from jobs.lake.batch_log import consumed_batch, last_published, published_batches
from jobs.lake.catalog import find_table, open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.names import CURATED, RAW
from jobs.runs.plan_document import DatasetPlan, Plan
from jobs.runs.receipts import Stage
from jobs.runs.run_receipts import RunReceipts
from jobs.runtime.settings import Settings


def is_pending(plan: Plan, stage: Stage, settings: Settings, receipts: RunReceipts | None = None) -> bool:
    """Whether `stage` still has work for any dataset of the plan, as its receipts and the lake say.

    `load` always has: only the warehouse knows how far it has come.

    Args:
        receipts: those of the run, where they are listed already.
    """
    if stage == "load":
        return True
    receipts = receipts or RunReceipts(open_documents(settings.lake), plan.pipeline, plan.run_id)
    if stage in ("extract", "transform"):
        return any(
            dataset.state == "planned" and not receipts.has(dataset.generation, stage, dataset.name)
            for dataset in plan.datasets
        )
    unchecked = [
        (dataset.generation, _first_stage(plan, dataset), dataset.name)
        for dataset in plan.datasets
        if not receipts.has(dataset.generation, "check", dataset.name)
    ]
    if any(receipt.verdict in ("done", "empty") for receipt in receipts.find_all(unchecked)):
        return True
    return any(resting_behind(plan, settings, receipts))


def resting_behind(plan: Plan, settings: Settings, receipts: RunReceipts) -> Iterator[str]:
    """Return the datasets without anything new whose published batches check must still merge into curated.

    A run died in between. A dataset that check could not merge has a failed receipt, and the same plan would fail
    again.

    Cost: the catalog's entries of two tables per dataset without anything new.
    """
    resting = [
        dataset.name
        for dataset in plan.datasets
        if dataset.state == "empty" and not receipts.has(dataset.generation, "check", dataset.name)
    ]
    if not resting:
        return
    catalog = open_catalog(settings)
    yield from (name for name in resting if _curated_is_behind(name, catalog))


def _first_stage(plan: Plan, dataset: DatasetPlan) -> Stage:
    return "transform" if plan.dataset_spec(dataset.name).derived else "extract"


def _curated_is_behind(dataset: str, catalog: Catalog) -> bool:
    """Whether a published batch has not been merged into the current state: a run died in between."""
    last = last_published(find_table(catalog, RAW, dataset))
    return last is not None and last.batch > consumed_batch(find_table(catalog, CURATED, dataset))


def is_published(plan: Plan, dataset: DatasetPlan, settings: Settings) -> bool:
    """Whether `main` of a dataset holds this plan's batch. A driver that dies just after publishing leaves no receipt
    of it."""
    raw = find_table(open_catalog(settings), RAW, dataset.name)
    ours = (plan.run_id, dataset.generation)
    return any((batch.run_id, batch.generation) == ours for batch in published_batches(raw))
