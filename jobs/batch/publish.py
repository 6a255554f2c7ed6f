"""Publish: fast-forward `main` to the proved snapshot, or, where another run came first, follow it.

Where a disjoint window was published in between (a backfill beside the schedule), the batch's rows are
written again from its branch under the next number, with the position as it must be now. Where the
other run moved the position itself, this one is superseded or planned again.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.errors import LakeMoved, ReconciliationFailed
from jobs.batch.reconciliation import batch_rows
from jobs.crash import crash_point
from jobs.lake import batches
from jobs.lake.batches import PublishedBatch, batch_of, last_published
from jobs.lake.branches import Head, RawTable, branch_prefix
from jobs.lake.catalog import RAW, find_table
from jobs.lake.position import read_position, write_position
from jobs.lake.row_hash import sum_of_hashes
from jobs.lake.schema import BATCH_COLUMN
from jobs.plan_document import DatasetPlan
from jobs.stages import Context

TRIES = 10


def publish(
    context: Context, dataset: DatasetPlan, table: RawTable, head: Head, hashed: Sequence[str]
) -> PublishedBatch:
    """Make the proved batch what everyone sees. `hashed` are the columns whose values are compared should it have to be
    written again; none: its rows are counted.

    Raises:
        LakeMoved: another run moved the position past where this one starts: it must be planned again.
    """
    for _ in range(TRIES):
        if table.publish(head, context.plan.run_id):
            return batch_of(head.properties, head.snapshot_id, head.made_at_ms)
        head = _follow(context, dataset, table, head, hashed)
    raise LakeMoved(
        f"{dataset.name}: main moved {TRIES} times while this run tried to publish",
        fix="Run it again when fewer runs are under way",
    )


def _follow(context: Context, dataset: DatasetPlan, table: RawTable, head: Head, hashed: Sequence[str]) -> Head:
    last = _last(context, dataset)
    number = (last.batch if last else 0) + 1
    position = read_position(context.documents, last.position) if last else None
    if dataset.moves_position:
        if position != dataset.start_position:
            raise LakeMoved(
                "another run published from the same position first",
                fix="Clear plan with downstream (or run again): what it left will be planned afresh",
            )
        position = dataset.position
    own = int(head.properties[batches.BATCH])
    rows = batch_rows(table, head.snapshot_id, context.plan.run_id, own).withColumn(
        BATCH_COLUMN, F.lit(number).cast("bigint")
    )
    properties = {key: value for key, value in head.properties.items() if key.startswith(batches.PREFIX)} | {
        batches.BATCH: str(number)
    }
    written = write_position(context.documents, dataset.name, position)
    properties.pop(batches.POSITION, None)
    if written is not None:
        properties[batches.POSITION] = written
    branch = f"{branch_prefix(context.plan.run_id)}_g{dataset.generation}_follows"
    crash_point("publish.following", dataset.name)
    table.open_branch(branch, table.head().snapshot_id)
    table.append(rows, branch, {batches.RUN_ID: context.plan.run_id, batches.BATCH: str(number)})
    followed = table.seal(branch, properties)
    again = batch_rows(table, followed.snapshot_id, context.plan.run_id, number)
    _prove_same(again, rows, table, hashed)
    return followed


def _prove_same(again: DataFrame, rows: DataFrame, table: RawTable, hashed: Sequence[str]) -> None:
    total = sum_of_hashes(hashed, table.schema, F.lit(True)) if hashed else F.lit(None)
    found, expected = (each.agg(F.count(F.lit(1)), total).first() for each in (again, rows))
    assert found is not None, "an aggregate has one row"
    assert expected is not None
    if found != expected:
        raise ReconciliationFailed(f"{found[0]} rows were written again of {expected[0]}, or other values")


def _last(context: Context, dataset: DatasetPlan) -> PublishedBatch | None:
    return last_published(find_table(context.catalog, RAW, dataset.name))
