"""Extract: read the plan's slices in parallel, set bad rows aside, append the rest to a branch.

The source's own count of a slice travels in the rows' statement where it can, and is asked for beside
it where it cannot. A slice that differs because rows moved while it was read is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pyspark.sql import Column as SparkColumn
from pyspark.sql import Observation
from pyspark.sql import functions as F

import expectations
from connectors.base import SLICE_COLUMN, SOURCE_ROWS_COLUMN, Column, Dataset, Source, SourcePlan
from connectors.errors import ReconciliationFailed
from expectations.row_rules import rejection
from jobs.batch.attempt import Attempt, Counts
from jobs.crash import crash_point
from jobs.lake.schema import ensure_tables
from jobs.plan_document import DatasetPlan
from jobs.planning import open_source
from jobs.progress import event
from jobs.receipts import Receipt
from jobs.stages import Context

READS = 3
"""How often a slice whose rows move is read before the batch stops."""


def extract(context: Context, dataset: DatasetPlan) -> Receipt | None:
    """Bring one dataset's batch onto a branch of raw and seal it.

    Returns:
        The receipt, with the branch and the sealed snapshot in its details; None where nothing is planned.

    Raises:
        ReconciliationFailed: after three reads a slice is still not what the source counts.
        SourceMoved: what the plan froze is gone at the source.
    """
    if dataset.state != "planned" or dataset.source is None:
        return None
    spec = context.spec(dataset)
    source, request = open_source(context.plan.spec, spec, context.settings)
    columns = (*dataset.source.columns, *source.identity_columns)
    ensure_tables(context.spark, dataset.name, columns, spec.bigquery.partition_by)
    crash_point("extract.before", dataset.name)
    attempt = Attempt(context, dataset, columns)
    counts = _read_all(context, dataset, source, request, attempt, columns)
    crash_point("extract.read", dataset.name)
    head = attempt.seal(counts)
    return context.new_receipt(
        dataset,
        "extract",
        "done",
        source_rows=sum(counts.source.values()),
        read=sum(counts.raw.values()) + sum(counts.quarantined.values()),
        quarantined=sum(counts.quarantined.values()),
        details={
            "branch": head.branch,
            "snapshot_id": str(head.snapshot_id),
            "source_rows_by_slice": {str(key): value for key, value in sorted(counts.source.items())},
        },
    )


def _read_all(
    context: Context,
    dataset: DatasetPlan,
    source: Source,
    request: Dataset,
    attempt: Attempt,
    columns: Sequence[Column],
) -> Counts:
    assert dataset.source is not None
    plan = dataset.source
    wanted = [piece.id for piece in plan.slices]
    for _ in range(READS):
        missing = [piece for piece in wanted if piece not in attempt.done_slices]
        for chunk in _chunks(missing, context.settings.slices_per_commit):
            _append(context, dataset, source, request, attempt, columns, plan.only(chunk))
            event("appended", stage="extract", dataset=dataset.name, slices=f"{len(attempt.done_slices)}/{len(wanted)}")
        uncounted = [piece for piece in wanted if piece not in attempt.source_rows]
        if uncounted:
            attempt.note_source_rows(source.count(request, plan.only(uncounted)))
        if not attempt.set_aside_done:
            # Rejected rows are still on the branch; quarantine may hold a dead attempt's copy of them.
            counts = replace(attempt.counts(), quarantined={})
            moved = counts.differing(wanted)
            if moved:
                told = f"read again: {counts.first_difference(wanted)}"
                event("warning", stage="extract", dataset=dataset.name, warning=told)
                attempt.take_back(moved)
                continue
        if attempt.set_aside():
            counts = attempt.counts()
        if not counts.differing(wanted):
            return counts
        break
    raise ReconciliationFailed(
        f"read is not published + quarantined: {attempt.counts().first_difference(wanted)}",
        fix="Rows may be moving faster than they can be read: raise lag_seconds, or plan again",
    )


def _append(
    context: Context,
    dataset: DatasetPlan,
    source: Source,
    request: Dataset,
    attempt: Attempt,
    columns: Sequence[Column],
    plan: SourcePlan,
) -> None:
    rows = source.read(context.spark, request, plan)
    seen = Observation()
    ids = [piece.id for piece in plan.slices]
    told = [
        F.max(F.when(F.col(SLICE_COLUMN) == piece, F.col(SOURCE_ROWS_COLUMN))).alias(f"rows_{piece}") for piece in ids
    ]
    rows = rows.observe(seen, *told)
    with source.reading():
        attempt.append(rows, ids, row_rejection(context, dataset, columns))
    counted = {piece: seen.get[f"rows_{piece}"] for piece in ids}
    expected = {piece.id: piece.expected_rows for piece in plan.slices}
    attempt.note_source_rows(
        {
            piece: int(found)
            for piece in ids
            if (found := counted[piece] if counted[piece] is not None else expected[piece]) is not None
        }
    )


def row_rejection(context: Context, dataset: DatasetPlan, columns: Sequence[Column]) -> SparkColumn | None:
    """The dataset's row rules as one expression: NULL for a good row, else the reason."""
    name = context.spec(dataset).expectations
    if name is None:
        return None
    types = {column.name: column.spark_type for column in columns}
    suite = expectations.load_suite(context.settings.expectations, name, types)
    return rejection(suite, types)


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
