"""Publish: fast-forwards `main` to the proved snapshot, or follows another commit that came first.

One read of the table gives the number, the position and the place on `main` that a batch builds on, and the commit
fails if `main` is anywhere else. Three things may have moved `main`:

* maintenance alone: the batch's files are appended behind it as they are.
* a disjoint window published in between (a backfill beside the schedule): the batch's rows are written again from its
  branch under the next number, with the position as it must be now.
* a run that moved the position itself: this run is planned again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from pyiceberg.table import Table
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.errors import LakeMoved, ReconciliationFailed
from jobs.lake import batch_log as batches
from jobs.lake.batch_log import PublishedBatch, batch_of
from jobs.lake.foreign_changes import verified_batches
from jobs.lake.large_properties import read_position, write_position
from jobs.lake.quarantine import remove_other_attempts
from jobs.lake.raw_table import Head, RawTable, branch_prefix
from jobs.lake.row_hash import sum_of_hashes
from jobs.lake.schema import BATCH_COLUMN
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.plan_document import DatasetPlan
from jobs.runs.receipts import Receipt, Stage
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.reconciliation import batch_rows

TRIES = 10


def publish(run: DatasetRun, table: RawTable, head: Head, hashed: Sequence[str]) -> PublishedBatch:
    """Publish the proved batch, so that every reader sees it.

    Args:
        hashed: the columns whose values are compared if the batch has to be written again; if empty, rows are counted.

    Raises:
        LakeMoved: another run published what this one would publish again or pass over: it must be planned again.
        LakeAltered: the table was changed from outside.
    """
    for _ in range(TRIES):
        raw = run.raw_table()
        published = verified_batches(raw)
        mine = batch_of_plan(run, published)
        if mine is not None:
            # Another driver of this plan, perhaps one that seemed dead, was faster.
            return mine
        number = int(head.properties[batches.BATCH])
        crash_point("publish.read", run.name)
        if number == _next(published) and table.is_on(head, _main_of(raw)):
            if table.publish(head, run.run_id, number, _main_of(raw)):
                return batch_of(head.properties, head.snapshot_id, head.created_at_ms)
            # Main moved since it was read.
            continue
        head = _follow(run, table, head, raw, published, hashed)
    raise LakeMoved(
        f"{run.name}: main moved {TRIES} times while this run tried to publish",
        fix="Run it again when fewer runs are under way",
    )


def batch_of_plan(run: DatasetRun, published: Sequence[PublishedBatch]) -> PublishedBatch | None:
    """Return this plan's batch if it is published: under the number it was planned with, or a later one."""
    ours = (run.run_id, run.dataset.generation)
    return next((batch for batch in published if (batch.run_id, batch.generation) == ours), None)


def step_back_if_late(run: DatasetRun, stage: Stage, attempt: Callable[[], Receipt | None]) -> Receipt | None:
    """Call an attempt at a batch. If another driver of the plan has published by its end, remove what it brought.

    The other driver drops the run's branches when it publishes: how the attempt failed then does not matter.

    Returns:
        The attempt's receipt; None if another driver has left one.
    """
    try:
        receipt = attempt()
    except Exception:
        # Without the other driver's receipt this is a failure like any other: the lake is not read again.
        if run.receipt(stage) is None or not _removed_late(run):
            raise
        return None
    if receipt is not None and receipt.verdict == "done":
        _removed_late(run)
    return receipt


def _removed_late(run: DatasetRun) -> bool:
    """Whether the plan's batch is published already. If so, remove what this driver brought: the stages that would do
    this have their receipts already."""
    published = batch_of_plan(run, verified_batches(run.raw_table()))
    if published is None:
        return False
    RawTable(run.spark, run.name).drop_attempts(run.run_id)
    remove_other_attempts(run.spark, run.name, published)
    return True


def _next(published: Sequence[PublishedBatch]) -> int:
    """Return the number of the next batch."""
    return (published[-1].batch if published else 0) + 1


def _follow(
    run: DatasetRun,
    table: RawTable,
    head: Head,
    raw: Table,
    published: Sequence[PublishedBatch],
    hashed: Sequence[str],
) -> Head:
    """Write the batch once more, on a branch that begins where `main` stood when `raw` was read."""
    _check_not_overtaken(run.dataset, published)
    number = _next(published)
    own = int(head.properties[batches.BATCH])
    properties = {key: value for key, value in head.properties.items() if key.startswith(batches.PREFIX)} | {
        batches.BATCH: str(number)
    }
    if not run.dataset.moves_position:
        position = read_position(run.context.documents, published[-1].position) if published else None
        written = write_position(run.context.documents, run.name, position)
        properties.pop(batches.POSITION, None)
        if written is not None:
            properties[batches.POSITION] = written
    crash_point("publish.following", run.name)
    # Two drivers of one plan must not append to one branch: the batch would be there twice.
    branch = f"{branch_prefix(run.run_id)}_g{run.dataset.generation}_follows_{uuid.uuid4().hex[:8]}"
    table.open_branch(branch, _main_of(raw))
    if number == own and table.append_again(head, run.run_id, own, branch, properties):
        return table.head(branch)
    rows = batch_rows(table, head.snapshot_id, run.run_id, own).withColumn(BATCH_COLUMN, F.lit(number).cast("bigint"))
    table.append(rows, branch, {batches.RUN_ID: run.run_id, batches.BATCH: str(number)})
    followed = table.seal(branch, properties)
    again = batch_rows(table, followed.snapshot_id, run.run_id, number)
    _prove_same(again, rows, table, hashed)
    return followed


def _check_not_overtaken(dataset: DatasetPlan, published: Sequence[PublishedBatch]) -> None:
    """Refuse a batch that may be wrong because of the batches published since the plan's base.

    A batch that moved the position read the same window. A sweep compared keys with the state of its base, so a row
    published since would look deleted. If one of two batches read rows again, the later one wins regardless of what it
    read. Versions do not rank the states of a row that changed under its cursor, nor a row and the mark of its
    deletion.
    """
    since = [batch for batch in published if batch.batch >= dataset.batch]
    moved = dataset.moves_position and any(batch.moved_position for batch in since)
    overlaps_published = dataset.keys is not None or (dataset.source is not None and dataset.source.overlaps_published)
    if moved or any(overlaps_published or batch.reread for batch in since):
        raise LakeMoved(
            "another run published from the same position first"
            if moved
            else "another run published while this one read, and may have brought newer states of its rows",
            fix="Clear plan with downstream (or run again): what it left will be planned afresh",
        )


def _main_of(raw: Table) -> int:
    main = raw.metadata.current_snapshot_id
    assert main is not None, "a raw table is made with a snapshot"
    return main


def _prove_same(again: DataFrame, rows: DataFrame, table: RawTable, hashed: Sequence[str]) -> None:
    total = sum_of_hashes(hashed, table.schema, F.lit(True)) if hashed else F.lit(None)
    written, expected = (frame.agg(F.count(F.lit(1)), total).first() for frame in (again, rows))
    assert written is not None, "an aggregate has one row"
    assert expected is not None
    if written != expected:
        raise ReconciliationFailed(f"{written[0]} of {expected[0]} rows were written again, or with other values")
