"""Load: brings one table of BigQuery up to `main`, with every published batch after the one in its ledger row.

Each batch goes raw → Parquet → staging table → one transaction that changes the table and moves the ledger. A crash
anywhere leaves either the whole batch or nothing of it, and the next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connectors.bigquery.cost import Cost
from connectors.bigquery.ledger import Ledger
from connectors.bigquery.transactions import Entry
from connectors.errors import LakeferryError, LoadRefused
from jobs.lake import catalog, names
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.documents import open_documents
from jobs.lake.expired_batches import ExpiredBatch
from jobs.lake.foreign_changes import verified_batches
from jobs.lake.spark_session import under_spark
from jobs.runs.plan_document import DatasetPlan, Plan
from jobs.runs.receipts import Receipt, Receipts
from jobs.runs.stage_results import Loaded
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.runtime.settings import Settings
from jobs.stages.load.batch_loader import BatchLoader, correction_command
from jobs.stages.load.comparison_record import difference_stands
from jobs.stages.load.executor_transport import Executors
from jobs.stages.load.ledger_checks import (
    check_batches_remain,
    check_lake,
    check_target,
    once_had_batches,
    pending_batches,
    rebuilt_tables,
)
from jobs.stages.load.moved_table import rows_elsewhere
from jobs.stages.load.target_comparison import Comparison, TargetComparison
from jobs.warehouse.client import open_bucket, open_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.runs.dataset_run import DatasetRun


@dataclass
class _Moved:
    """The result of one call of `load_dataset`.

    `already` are this run's batches that an earlier attempt brought. `fingerprint` is that of the rows of `now`;
    `copied_rows` came from the dataset's earlier table. `expired` rows lie in partitions that BigQuery removes at once.
    """

    now: list[PublishedBatch | ExpiredBatch] = field(default_factory=list)
    already: list[PublishedBatch] = field(default_factory=list)
    passed_over: list[int] = field(default_factory=list)
    bytes: int = 0
    fingerprint: int | None = None
    cost: Cost = field(default_factory=Cost)
    expired: int = 0
    copied_from: str | None = None
    copied_rows: int | None = None
    comparison: Comparison | None = None


def load(run: DatasetRun) -> Receipt | None:
    """Do the load stage's work on one dataset; see `load_dataset`.

    Returns:
        The receipt; None if the plan's own batch is not proved yet, because the driver died before. That batch is
        loaded once it is published.
    """
    session = (lambda: run.spark) if under_spark() else None
    receipt = load_dataset(run.context.plan, run.dataset, run.context.settings, session)
    return None if _is_on_its_way(run) else receipt


def _is_on_its_way(run: DatasetRun) -> bool:
    if run.dataset.state != "planned" or run.receipt("check") is not None:
        return False
    receipt = run.receipt("transform" if run.spec.derived else "extract")
    return receipt is None or receipt.verdict in ("done", "empty")


def load_dataset(
    plan: Plan, dataset_plan: DatasetPlan, settings: Settings, session: Callable[[], SparkSession] | None = None
) -> Receipt:
    """Load every batch of the dataset that BigQuery lacks. Returns the receipt, which the caller leaves.

    Batches that other runs published and nobody loaded are brought as well, oldest first, including those that another
    tool expired from the log. In `replace` only the newest counts. `published` and `loaded` count the rows of the
    batches brought, and of this run's own batch if an earlier attempt brought it.

    Args:
        session: opens Spark, whose executors bring batches of at least `LAKEFERRY_WAREHOUSE_SPREAD_BYTES` to the
            bucket; without it this process brings them.

    Raises:
        TargetDiffers: the table differs from curated once the batches are in.
        LoadRefused: a count or key is wrong, or BigQuery refuses a value; nothing is half done.
        LakeAltered: the lake's log is not the one BigQuery was loaded from; nothing was staged.
        ConfigurationError: the table in BigQuery does not fit the dataset.
        ServiceUnavailable, AccessDenied: raised within 15 seconds if nothing answers.
    """
    started = time.monotonic()
    dataset = plan.dataset_spec(dataset_plan.name)
    crash_point("load.before", dataset.name)
    try:
        moved, rows = _load(plan, dataset_plan, settings, session)
    except LakeferryError as error:
        raise error.located(pipeline=plan.pipeline, dataset=dataset.name) from None
    brought = moved.already + moved.now
    counted = sum(batch.rows for batch in brought)
    own = _own(plan, dataset_plan, brought)
    return Receipt(
        pipeline=plan.pipeline,
        run_id=plan.run_id,
        generation=dataset_plan.generation,
        stage="load",
        dataset=dataset.name,
        verdict="done" if brought else "empty",
        batch=brought[-1].batch if brought else None,
        published=counted,
        loaded=counted,
        warehouse_rows=rows,
        bytes=moved.bytes,
        seconds=round(time.monotonic() - started, 3),
        window_start=own.window_start if own else None,
        window_end=own.window_end if own else None,
        details=Loaded(
            table=dataset.bigquery.table,
            batches=[batch.batch for batch in moved.now],
            already_loaded=[batch.batch for batch in moved.already],
            passed_over=list(moved.passed_over),
            fingerprint=moved.fingerprint,
            bytes_estimated=moved.cost.estimated,
            bytes_processed=moved.cost.processed,
            bytes_billed=moved.cost.billed,
            expired_rows=moved.expired or None,
            copied_from=moved.copied_from,
            copied_rows=moved.copied_rows if moved.copied_from else None,
            **_compared(moved.comparison),
        ),
    )


def _moved(plan: Plan, loader: BatchLoader, batch: PublishedBatch | ExpiredBatch, entry: Entry) -> Entry:
    """Load a batch (`BatchLoader.move`). If a refusal names no fix of its own, add the way past the batch."""
    try:
        return loader.move(batch, entry)
    except LoadRefused as error:
        if error.fix is None and loader.correctable:
            error.fix = (
                "Make the table accept such values, or set the rows aside: "
                f"{correction_command(plan.pipeline, loader.dataset, batch.batch)}. Until then later batches wait"
            )
        raise


def _own(
    plan: Plan, dataset: DatasetPlan, brought: Sequence[PublishedBatch | ExpiredBatch]
) -> PublishedBatch | ExpiredBatch | None:
    """Return, of the batches brought, that of this generation of the plan, else that of the run."""
    of_run = [batch for batch in brought if batch.run_id == plan.run_id]
    of_plan = [b for b in of_run if isinstance(b, PublishedBatch) and b.generation == dataset.generation]
    return next(iter([*of_plan, *of_run]), None)


def _reported_batches(plan: Plan, dataset: DatasetPlan, settings: Settings) -> set[int]:
    """Return the batches that earlier generations of the plan have loaded, as their receipts report. A generation that
    loaded and died has no receipt: the next one reports its batches."""
    receipts = Receipts(open_documents(settings.lake))
    reported: set[int] = set()
    for generation in range(1, dataset.generation):
        receipt = receipts.find(plan.pipeline, plan.run_id, generation, "load", dataset.name)
        if receipt is not None and receipt.verdict == "done":
            loaded = receipt.result(Loaded) or Loaded()
            reported.update(loaded.batches, loaded.already_loaded)
    return reported


def _compared(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    why: dict[str, Any] = {} if comparison.skipped is None else {"not_compared": comparison.skipped}
    if comparison.skipped is not None and not comparison.partitions:
        return why
    return why | {
        "compared_partitions": comparison.partitions,
        "compared_rows": comparison.rows,
        "compared_whole": comparison.whole,
    }


def _load(
    plan: Plan, dataset_plan: DatasetPlan, settings: Settings, session: Callable[[], SparkSession] | None
) -> tuple[_Moved, int | None]:
    dataset = plan.dataset_spec(dataset_plan.name)
    lake = catalog.open_catalog(settings)
    raw = catalog.find_table(lake, names.RAW, dataset.name)
    published = verified_batches(raw)
    moved = _Moved()
    warehouse = open_warehouse(settings)
    if raw is None or not published:
        if once_had_batches(dataset_plan, raw, catalog.find_table(lake, names.CURATED, dataset.name)):
            warehouse.ping()
            check_batches_remain(dataset, warehouse)
        return moved, None
    moved.cost = warehouse.cost
    warehouse.ping()
    ledger = Ledger(warehouse, dataset.name, rebuilt_tables(dataset, raw, published))
    entry = ledger.open()
    if entry.batch > published[-1].batch:
        # Another run may have published and loaded since the table was read.
        raw = catalog.find_table(lake, names.RAW, dataset.name) or raw
        published = verified_batches(raw)
    check_lake(dataset, raw, published, entry, ledger)
    pending = pending_batches(dataset, raw, published, entry, ledger)
    ours = [batch for batch in published if batch.run_id == plan.run_id and batch.batch <= entry.batch]
    reported = _reported_batches(plan, dataset_plan, settings) if ours else set()
    moved.already = [batch for batch in ours if batch.batch not in reported]
    executors = Executors(session, settings.warehouse_spread_bytes) if session else None
    loader = BatchLoader(
        plan, dataset, raw, warehouse, ledger, settings.max_bytes_billed, open_bucket(settings), executors
    )
    if dataset.write_disposition != "replace" or not pending:
        came_from = rows_elsewhere(dataset, entry, ledger.name)
        if came_from:
            entry, moved.copied_rows = loader.bring_over(came_from, entry)
            moved.copied_from = came_from
            event("relocated", stage="load", dataset=dataset.name, rows=moved.copied_rows, copied_from=came_from)
        check_target(dataset, entry, ledger, warehouse)
    for batch in pending:
        if batch.batch > entry.batch:
            moved.passed_over += range(entry.batch + 1, batch.batch)
            entry = _moved(plan, loader, batch, entry)
            moved.bytes += loader.bytes
            if loader.fingerprint is not None:
                moved.fingerprint = (moved.fingerprint or 0) + loader.fingerprint
            moved.expired = loader.expired
        moved.now.append(batch)
    documents = open_documents(settings.lake)
    # A table that differs stays red until it is equal again, even in runs that bring nothing.
    due = difference_stands(documents, dataset.name, dataset.bigquery.table, str(entry.table_uuid))
    if moved.now or moved.already or due:
        comparing = TargetComparison(dataset, loader.target, warehouse, ledger, lake, documents, loader.most_bytes)
        # Nobody knows any more what an earlier attempt touched.
        known = moved.now and moved.copied_from is None
        corrected = any(isinstance(batch, PublishedBatch) and batch.corrects for batch in moved.now)
        moved.comparison = comparing.after_load(entry, loader.touched if known else None, corrected)
        if moved.comparison.skipped:
            event("not compared", stage="load", dataset=dataset.name, reason=moved.comparison.skipped)
    return moved, loader.rows()
