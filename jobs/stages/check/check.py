"""Check: prove the batch, publish it, and bring the current state (curated) up to it.

If a check fails, `main` and everything downstream stay as they were. The branch is kept for inspection.
"""

from __future__ import annotations

import time

from pydantic import JsonValue
from pyiceberg.table import Table
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.base import Column
from connectors.errors import CheckFailed, DuplicateKey, LakeMoved, ReconciliationFailed, SchemaBroken
from connectors.versions import columns_of
from expectations import Suite, data_docs
from expectations import runner as suite_runner
from jobs.contracts.rules import proof_rules
from jobs.lake import batch_log as batches
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.foreign_changes import verified_batches
from jobs.lake.quarantine import has_set_aside, remove_other_attempts
from jobs.lake.raw_table import Head, RawTable
from jobs.lake.schema import BATCH_COLUMN, DELETED_COLUMN, quoted
from jobs.masking.masks import lake_columns_after
from jobs.runs.context import Context
from jobs.runs.plan_document import DatasetPlan
from jobs.runs.receipts import Receipt, data_docs_key
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.attempt import lake_columns
from jobs.stages.batch.curated_state import catch_up_dataset
from jobs.stages.batch.file_proof import count_files, refuse_altered_files
from jobs.stages.batch.reconciliation import (
    batch_rows,
    count_in_lake,
    differing,
    hashed_columns,
    notes_from_json,
    planned_columns,
)
from jobs.stages.check.partition_count import refuse_too_many_partitions
from jobs.stages.check.publish import batch_of_plan, publish
from jobs.stages.check.rejected_share import refuse_mostly_rejected
from jobs.stages.extract.log_order import refuse_equal_timestamps


def check(context: Context, dataset: DatasetPlan) -> Receipt | None:
    """Prove, publish and merge one dataset's batch.

    Returns:
        The receipt; None if nothing was extracted (curated is brought up to date all the same).

    Raises:
        SchemaBroken, ReconciliationFailed, TooManyRejected, DuplicateKey, CheckFailed: the batch is not published.
        LakeMoved: another run published first and this one must be planned again.
    """
    spec = context.spec(dataset)
    made = context.receipt(dataset, "transform" if spec.derived else "extract")
    if made is None or made.verdict == "failed":
        if dataset.state == "empty":
            catch_up_dataset(context, dataset)
        return None
    if made.verdict == "empty":
        RawTable(context.spark, dataset.name).drop_attempts(context.plan.run_id)
        catch_up_dataset(context, dataset)
        nothing = dict.fromkeys(("read", "published", "quarantined"), 0)
        return context.new_receipt(dataset, "check", "empty", known=made.known, deleted=made.deleted, **nothing)
    raw = context.raw_table(dataset)
    table = RawTable(context.spark, dataset.name)
    batch, suite = _prove_and_publish(context, dataset, raw, table, made)
    crash_point("check.published", dataset.name)
    remove_other_attempts(context.spark, dataset.name, batch)
    catch_up_dataset(context, dataset)
    crash_point("check.curated", dataset.name)
    return context.new_receipt(
        dataset,
        "check",
        "done",
        batch=batch.batch,
        source_rows=made.source_rows,
        known=made.known,
        deleted=made.deleted,
        read=made.read,
        # The count at the seal: rows that a correction has set aside since are in the correction's receipt.
        published=batch.rows + batch.corrected,
        quarantined=batch.quarantined,
        details={"snapshot_id": str(batch.snapshot_id), **suite},
    )


def _prove_and_publish(
    context: Context, dataset: DatasetPlan, raw: Table, table: RawTable, made: Receipt
) -> tuple[PublishedBatch, dict[str, JsonValue]]:
    """Return the batch as published, by this driver or another one of the plan, and what was proved of it here."""
    batch = batch_of_plan(context, dataset, verified_batches(raw))
    if batch is not None:
        table.drop_attempts(context.plan.run_id)
        return batch, {}
    head = _proved_head(table, made)
    if head is None:
        # Another driver may have published since raw was read, and may have dropped the run's branches.
        batch = batch_of_plan(context, dataset, verified_batches(context.raw_table(dataset)))
        if batch is None:
            raise LakeMoved(f"branch {made.details['branch']} is gone", fix="Clear plan with downstream, to plan again")
        return batch, {}
    suite = _prove(context, dataset, raw, table, head, made)
    crash_point("check.proved", dataset.name)
    hashed = planned_columns(made) if context.spec(dataset).reconcile == "fingerprint" else []
    return publish(context, dataset, table, head, hashed), suite


def _proved_head(table: RawTable, made: Receipt) -> Head | None:
    """Return the sealed head that the extract receipt names; None if its branch is gone.

    Another head is the work of another driver.
    """
    branch, snapshot = str(made.details["branch"]), int(str(made.details["snapshot_id"]))
    head = table.find_head(branch)
    if head is not None and head.snapshot_id != snapshot:
        raise LakeMoved(
            f"branch {branch} is not at the snapshot its receipt names", fix="Clear plan with downstream, to plan again"
        )
    return head


def _prove(
    context: Context, dataset: DatasetPlan, raw: Table, table: RawTable, head: Head, made: Receipt
) -> dict[str, JsonValue]:
    columns = _columns(context, dataset, table)
    arriving = dataset.lake_columns or lake_columns_after(context.spec(dataset).mask, columns)
    swept = context.spec(dataset).deletes == "sweep"
    _prove_schema(raw, arriving)
    proof_seconds = _prove_rows(context, dataset, raw, table, head, made)
    sealed = batches.batch_of(head.properties, head.snapshot_id, head.made_at_ms)
    refuse_mostly_rejected(context, dataset, sealed, batches.published_batches(raw))
    refuse_too_many_partitions(
        context.spec(dataset),
        sealed.rows,
        lambda: batch_rows(table, head.snapshot_id, context.plan.run_id, dataset.batch),
    )
    if dataset.key_guarantee == "none":
        _prove_keys(context, dataset, batch_rows(table, head.snapshot_id, context.plan.run_id, dataset.batch))
    proved: dict[str, JsonValue] = {
        "reconcile": context.spec(dataset).reconcile,
        "proof_seconds": round(proof_seconds, 3),
    }
    suite = proof_rules(dataset.rules, context.spec(dataset), columns)
    if suite is None or not suite.rules:
        return proved
    rows = batch_rows(table, head.snapshot_id, context.plan.run_id, dataset.batch)
    if swept:
        # Deleted rows were judged when they came.
        rows = rows.where(F.col(DELETED_COLUMN).isNull())
        if made.deleted and rows.isEmpty():
            return proved
    return proved | _prove_expectations(context, dataset, rows, arriving, suite)


def _columns(context: Context, dataset: DatasetPlan, table: RawTable) -> tuple[Column, ...]:
    """Return the columns as they were read, before masks."""
    if dataset.source is not None:
        return dataset.read_columns
    own = [field for field in table.schema if not field.name.startswith("_")]
    return tuple(Column(name=f.name, source_type="derived", spark_type=f.dataType.simpleString()) for f in own)


def _prove_schema(raw: Table, columns: tuple[Column, ...]) -> None:
    there = raw.schema().column_names
    missing = [name for name in lake_columns(columns) if name not in there]
    if missing:
        raise SchemaBroken(
            f"columns of the plan that raw lacks: {', '.join(missing)}", fix="Clear plan with downstream, to plan again"
        )


def _prove_rows(
    context: Context, dataset: DatasetPlan, raw: Table, table: RawTable, head: Head, made: Receipt
) -> float:
    """Count the batch by its files and prove their rows, if they were proved when they were written.

    Files named after their bytes stand for the rows they were written from: only their bytes are checked. The rows of
    any other file are hashed again.

    Returns:
        The seconds it took.
    """
    started = time.monotonic()
    spark, run_id = context.spark, context.plan.run_id
    notes = notes_from_json(made.details.get("slices"))
    files = table.batch_files(head.snapshot_id, run_id, dataset.batch)
    if context.spec(dataset).reconcile == "fingerprint":
        refuse_altered_files(spark, files, raw.io.properties)
    sealed = batches.batch_of(head.properties, head.snapshot_id, head.made_at_ms)
    set_aside_by = sealed.set_aside
    counts = None if has_set_aside(set_aside_by) else count_files(files)
    if counts is None:
        rows = batch_rows(table, head.snapshot_id, run_id, dataset.batch)
        counts = count_in_lake(spark, rows, dataset.name, run_id, set_aside_by, hashed_columns(made))
    wrong = differing(sorted({*notes, *counts.raw, *counts.quarantined}), notes, counts)
    there = (sum(counts.raw.values()), sum(counts.quarantined.values()))
    if not wrong and there != (sealed.rows, sealed.quarantined):
        wrong = {0: f"raw and quarantine hold {there}, the batch was sealed with {(sealed.rows, sealed.quarantined)}"}
    if wrong:
        raise ReconciliationFailed(
            f"read is not published + quarantined in raw.{dataset.name} and quarantine.{dataset.name}: "
            f"{next(iter(wrong.values()))}",
            fix="Clear plan with downstream (or run again), to read it afresh",
        )
    return time.monotonic() - started


def _prove_keys(context: Context, dataset: DatasetPlan, rows: DataFrame) -> None:
    """Refuse two rows of one snapshot with one key and one version: nobody can say which one is right."""
    spec = context.spec(dataset)
    keys = [*spec.primary_key]
    if not keys:
        return
    log = dataset.identity.log
    if log is not None:
        # Two messages never share a place.
        if log.equal_timestamps_refused and spec.write_disposition in ("merge", "append"):
            refuse_equal_timestamps(rows, keys, log)
        return
    versions = [name for name in columns_of(dataset.identity.versions) if name not in (*keys, BATCH_COLUMN)]
    twice = rows.groupBy(*[F.col(quoted(name)) for name in [*keys, *versions]]).count().where("count > 1")
    found = twice.agg(F.count("*"), F.sum("count")).first()
    if found and found[0]:
        raise DuplicateKey(
            f"{found[0]} values of primary_key ({', '.join(keys)}) stand on {found[1]} rows of one snapshot",
            fix="Name the columns that are unique at the source in primary_key",
        )


def _prove_expectations(
    context: Context, dataset: DatasetPlan, rows: DataFrame, columns: tuple[Column, ...], suite: Suite
) -> dict[str, JsonValue]:
    names = [column.name for column in columns if column.name != DELETED_COLUMN]
    shown = rows.select(*[F.col(quoted(name)) for name in names], F.col(BATCH_COLUMN))
    verdict = suite_runner.check(shown, suite, dataset=dataset.name, run_id=context.plan.run_id, batch=dataset.batch)
    index = data_docs_key(context.plan.pipeline, dataset.name, context.plan.run_id, dataset.generation)
    folder = index.rpartition("/")[0]
    pages = data_docs.render(verdict)
    for path, body in pages.items():
        context.documents.put(f"{folder}/{path}", body, _content_type(path))
    docs = context.documents.uri(index)
    if not verdict.success:
        raise CheckFailed(
            "; ".join(verdict.failures),
            fix=f"Look at {docs}; once the data is right, clear plan with downstream (or run again) to plan afresh",
        )
    return {"data_docs": docs, "expectations": len(suite.rules)}


def _content_type(path: str) -> str:
    endings = {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".json": "application/json",
        ".svg": "image/svg+xml",
    }
    return next((kind for ending, kind in endings.items() if path.endswith(ending)), "application/octet-stream")
