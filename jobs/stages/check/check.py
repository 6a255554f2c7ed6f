"""Check: prove the batch, publish it, and bring the current state (curated) up to it.

If a check fails, `main` and everything downstream stay as they were. The branch is kept for inspection.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

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
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.receipts import Receipt, data_docs_key
from jobs.runs.stage_results import Proved, Sealed
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.attempt import lake_columns
from jobs.stages.batch.curated_state import update_curated
from jobs.stages.batch.file_proof import check_files_unaltered, count_files
from jobs.stages.batch.reconciliation import (
    batch_rows,
    count_in_lake,
    hashed_columns,
    mismatches,
)
from jobs.stages.check.partition_count import check_partition_count
from jobs.stages.check.publish import batch_of_plan, publish
from jobs.stages.check.rejected_share import check_rejected_share
from jobs.stages.extract.log_order import check_timestamps_differ


def check(run: DatasetRun) -> Receipt | None:
    """Prove, publish and merge one dataset's batch.

    Returns:
        The receipt; None if nothing was extracted (curated is brought up to date all the same).

    Raises:
        SchemaBroken, ReconciliationFailed, TooManyRejected, DuplicateKey, CheckFailed: the batch is not published.
        LakeMoved: another run published first and this one must be planned again.
    """
    spec = run.spec
    receipt = run.receipt("transform" if spec.derived else "extract")
    if receipt is None or receipt.verdict == "failed":
        if run.dataset.state == "empty":
            update_curated(run)
        return None
    if receipt.verdict == "empty":
        RawTable(run.spark, run.name).drop_attempts(run.run_id)
        update_curated(run)
        nothing = dict.fromkeys(("read", "published", "quarantined"), 0)
        return run.new_receipt("check", "empty", known=receipt.known, deleted=receipt.deleted, **nothing)
    raw = run.raw_table()
    table = RawTable(run.spark, run.name)
    batch, proved = _prove_and_publish(run, raw, table, receipt)
    crash_point("check.published", run.name)
    remove_other_attempts(run.spark, run.name, batch)
    update_curated(run)
    crash_point("check.curated", run.name)
    return run.new_receipt(
        "check",
        "done",
        batch=batch.batch,
        source_rows=receipt.source_rows,
        known=receipt.known,
        deleted=receipt.deleted,
        read=receipt.read,
        # The count at the seal: rows that a correction has set aside since are in the correction's receipt.
        published=batch.rows + batch.corrected,
        quarantined=batch.quarantined,
        details=proved.model_copy(update={"snapshot_id": batch.snapshot_id}),
    )


@dataclass(frozen=True)
class _SealedBatch:
    """A batch on its branch: `head` is the snapshot that `receipt`, of extract or transform, has sealed."""

    run: DatasetRun
    raw: Table
    table: RawTable
    head: Head
    receipt: Receipt
    sealed: Sealed

    @property
    def log_entry(self) -> PublishedBatch:
        """The batch as the log will list it."""
        return batches.batch_of(self.head.properties, self.head.snapshot_id, self.head.created_at_ms)

    def rows(self) -> DataFrame:
        return batch_rows(self.table, self.head.snapshot_id, self.run.run_id, self.run.dataset.batch)


def _prove_and_publish(run: DatasetRun, raw: Table, table: RawTable, receipt: Receipt) -> tuple[PublishedBatch, Proved]:
    """Return the batch as published, by this driver or another one of the plan, and what was proved of it here."""
    batch = batch_of_plan(run, verified_batches(raw))
    if batch is not None:
        table.drop_attempts(run.run_id)
        return batch, Proved()
    sealed = receipt.result(Sealed) or Sealed()
    head = _sealed_head(table, sealed)
    if head is None:
        # Another driver may have published since raw was read, and may have dropped the run's branches.
        batch = batch_of_plan(run, verified_batches(run.raw_table()))
        if batch is None:
            raise LakeMoved(f"branch {sealed.branch} is gone", fix="Clear plan with downstream, to plan again")
        return batch, Proved()
    proved = _prove(_SealedBatch(run, raw, table, head, receipt, sealed))
    crash_point("check.proved", run.name)
    hashed = sealed.columns if run.spec.reconcile == "fingerprint" else []
    return publish(run, table, head, hashed), proved


def _sealed_head(table: RawTable, sealed: Sealed) -> Head | None:
    """Return the sealed head; None if its branch is gone.

    Another head is the work of another driver.
    """
    head = table.find_head(sealed.branch) if sealed.branch is not None else None
    if head is not None and head.snapshot_id != sealed.snapshot_id:
        raise LakeMoved(
            f"branch {sealed.branch} is not at the snapshot its receipt names",
            fix="Clear plan with downstream, to plan again",
        )
    return head


def _prove(batch: _SealedBatch) -> Proved:
    run, spec = batch.run, batch.run.spec
    columns = _columns(run, batch.table)
    arriving = run.dataset.lake_columns or lake_columns_after(spec.mask, columns)
    swept = spec.deletes == "sweep"
    _prove_schema(batch.raw, arriving)
    proof_seconds = _prove_rows(batch)
    check_rejected_share(run, batch.log_entry, batches.published_batches(batch.raw))
    check_partition_count(spec, batch.log_entry.rows, batch.rows)
    if run.dataset.key_guarantee == "none":
        _prove_keys(run, batch.rows())
    proved = Proved(reconcile=spec.reconcile, proof_seconds=round(proof_seconds, 3))
    suite = proof_rules(run.dataset.rules, spec, columns)
    if suite is None or not suite.rules:
        return proved
    rows = batch.rows()
    if swept:
        # Deleted rows were judged when they came.
        rows = rows.where(F.col(DELETED_COLUMN).isNull())
        if batch.receipt.deleted and rows.isEmpty():
            return proved
    docs = _prove_expectations(run, rows, arriving, suite)
    return proved.model_copy(update={"data_docs": docs, "expectations": len(suite.rules)})


def _columns(run: DatasetRun, table: RawTable) -> tuple[Column, ...]:
    """Return the columns as they were read, before masks."""
    if run.dataset.source is not None:
        return run.dataset.read_columns
    own = [field for field in table.schema if not field.name.startswith("_")]
    return tuple(Column(name=f.name, source_type="derived", spark_type=f.dataType.simpleString()) for f in own)


def _prove_schema(raw: Table, columns: tuple[Column, ...]) -> None:
    there = raw.schema().column_names
    missing = [name for name in lake_columns(columns) if name not in there]
    if missing:
        raise SchemaBroken(
            f"columns of the plan that raw lacks: {', '.join(missing)}", fix="Clear plan with downstream, to plan again"
        )


def _prove_rows(batch: _SealedBatch) -> float:
    """Count the batch by its files and prove their rows, if they were proved when they were written.

    Files named after their bytes stand for the rows they were written from: only their bytes are checked. The rows of
    any other file are hashed again.

    Returns:
        The seconds it took.
    """
    started = time.monotonic()
    run, stats, sealed = batch.run, batch.sealed.slices, batch.log_entry
    files = batch.table.batch_files(batch.head.snapshot_id, run.run_id, run.dataset.batch)
    if run.spec.reconcile == "fingerprint":
        check_files_unaltered(run.spark, files, batch.raw.io.properties)
    counts = None if has_set_aside(sealed.set_aside) else count_files(files)
    if counts is None:
        hashed = hashed_columns(batch.sealed)
        counts = count_in_lake(run.spark, batch.rows(), run.name, run.run_id, sealed.set_aside, hashed)
    wrong = mismatches(sorted({*stats, *counts.raw, *counts.quarantined}), stats, counts)
    in_lake = (sum(counts.raw.values()), sum(counts.quarantined.values()))
    if not wrong and in_lake != (sealed.rows, sealed.quarantined):
        wrong = {0: f"raw and quarantine hold {in_lake}, the batch was sealed with {(sealed.rows, sealed.quarantined)}"}
    if wrong:
        raise ReconciliationFailed(
            f"read is not published + quarantined in raw.{run.name} and quarantine.{run.name}: "
            f"{next(iter(wrong.values()))}",
            fix="Clear plan with downstream (or run again), to read it afresh",
        )
    return time.monotonic() - started


def _prove_keys(run: DatasetRun, rows: DataFrame) -> None:
    """Refuse two rows of one snapshot with one key and one version: nobody can say which one is right."""
    spec = run.spec
    keys = [*spec.primary_key]
    if not keys:
        return
    log = run.dataset.identity.log
    if log is not None:
        # Two messages never share a place.
        if log.equal_timestamps_refused and spec.write_disposition in ("merge", "append"):
            check_timestamps_differ(rows, keys, log)
        return
    versions = [name for name in columns_of(run.dataset.identity.versions) if name not in (*keys, BATCH_COLUMN)]
    twice = rows.groupBy(*[F.col(quoted(name)) for name in [*keys, *versions]]).count().where("count > 1")
    repeated = twice.agg(F.count("*"), F.sum("count")).first()
    if repeated and repeated[0]:
        raise DuplicateKey(
            f"{repeated[0]} values of primary_key ({', '.join(keys)}) occur in {repeated[1]} rows of one snapshot",
            fix="Name the columns that are unique at the source in primary_key",
        )


def _prove_expectations(run: DatasetRun, rows: DataFrame, columns: tuple[Column, ...], suite: Suite) -> str:
    """Prove the rules. Returns the address of their report."""
    names = [column.name for column in columns if column.name != DELETED_COLUMN]
    shown = rows.select(*[F.col(quoted(name)) for name in names], F.col(BATCH_COLUMN))
    verdict = suite_runner.check(shown, suite, dataset=run.name, run_id=run.run_id, batch=run.dataset.batch)
    index = data_docs_key(run.context.plan.pipeline, run.name, run.run_id, run.dataset.generation)
    folder = index.rpartition("/")[0]
    pages = data_docs.render(verdict)
    for path, body in pages.items():
        run.context.documents.put(f"{folder}/{path}", body, _content_type(path))
    docs = run.context.documents.uri(index)
    if not verdict.success:
        raise CheckFailed(
            "; ".join(verdict.failures),
            fix=f"Look at {docs}; once the data is right, clear plan with downstream (or run again) to plan afresh",
        )
    return docs


def _content_type(path: str) -> str:
    endings = {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".json": "application/json",
        ".svg": "image/svg+xml",
    }
    return next((kind for ending, kind in endings.items() if path.endswith(ending)), "application/octet-stream")
