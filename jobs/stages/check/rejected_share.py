"""Refuses to publish a batch with too many rejected rows: a renamed field stops a run and does not empty a table.

The rule judges a read of at least ten rows by its own share. Rows that were read again count as read, because only the
rows that differ from a whole table are in the batch. Messages that mark a row as gone do not count. Nor, for the same
reason, do rows that were set aside before and are only not recognized.

A smaller read says little: one bad row of two is no reason to stop. But if every row of it is rejected, as were all
rows of the batches right before it, these batches count together. This stops a source that sends few rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from connectors.base import TOMBSTONE
from connectors.errors import TooManyRejected
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.names import QUARANTINE
from jobs.lake.quarantine import VALUE_IN_REASON, Counted
from jobs.lake.schema import ATTEMPT_COLUMN, RUN_COLUMN, table_name
from jobs.runtime.events import event

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.runs.dataset_run import DatasetRun
    from jobs.runs.plan_document import DatasetPlan

LEAST_ROWS = 10
_MOST_REASONS = 3
_REPLACING = ("replace", "overwrite_partitions")


def check_rejected_share(run: DatasetRun, batch: PublishedBatch, published: Sequence[PublishedBatch]) -> None:
    """Compare a batch's share of rejected rows with `most_quarantined`. Warn if every row of a small batch is rejected.

    The counts of the sealed batch decide. Quarantine is read only if they are above the share.

    Args:
        batch: the batch as it is sealed.
        published: the batches on `main`, oldest first.

    Raises:
        TooManyRejected: the share is above the limit; the error names the most frequent reasons.
    """
    spec = run.spec
    accepted = batch.rows if batch.accepted is None else batch.accepted
    refused = batch.quarantined if batch.refused is None else batch.refused
    if not _above(refused, accepted, spec.most_quarantined):
        if refused >= LEAST_ROWS and not batch.rows:
            _warn(run.dataset, "every new row of the batch was rejected", _reasons(run, batch, published))
        return
    reasons = _reasons(run, batch, published)
    bad = sum(reasons.values())
    if not _above(bad, accepted, spec.most_quarantined):
        return
    read = accepted + bad
    problem = f"{bad:,} of {read:,} rows were rejected"
    in_a_row = 0
    if read < LEAST_ROWS:
        if accepted:
            return
        in_a_row = _rejected_before(run, published)
        if bad + in_a_row < LEAST_ROWS:
            _warn(run.dataset, "every row of the batch was rejected", reasons)
            return
        problem += f", and each of the {in_a_row:,} rows of the batches right before"
    share = 1.0 if in_a_row else min(ceil(bad / read * 1000) / 1000, 1.0)
    raise TooManyRejected(
        f"{problem}, more than most_quarantined: {spec.most_quarantined:g}. Nothing is published, and the position "
        f"stays. The most frequent reasons: {_named(reasons)}",
        fix=f"lakeferry quarantine {run.context.plan.pipeline} shows the rows. Mend the source, or the columns and "
        f"rules of the spec; if these rows are meant to be set aside, write most_quarantined: {share:g} (1 accepts "
        "every share). Then clear plan with downstream, or run again",
    )


def _warn(dataset: DatasetPlan, problem: str, reasons: dict[str, int]) -> None:
    event("warning", stage="check", dataset=dataset.name, warning=f"{problem}: {_named(reasons)}")


def _above(bad: int, accepted: int, share: float) -> bool:
    # Divided, not multiplied: 29 of 100 are not more than 0.29.
    return bad > 0 and bad / (accepted + bad) > share


def _rejected_before(run: DatasetRun, published: Sequence[PublishedBatch]) -> int:
    """Count the rows of the newest batches of which every row was rejected, back to one that read a valid row.

    Only batches that continue one another count together. A batch of a requested window, or one that replaces what
    was there, may have read the same rows as another.
    """
    if not run.dataset.moves_position or run.spec.write_disposition in _REPLACING:
        return 0
    return rejected_in_a_row(published)


def rejected_in_a_row(published: Sequence[PublishedBatch]) -> int:
    """Count the rejected rows of the newest scheduled batches that read no valid row, back to one that did."""
    rows = 0
    for batch in reversed(published):
        # A person chose the rows of a correction.
        if not batch.moved_position or batch.corrects:
            continue
        # A batch from before the counts were recorded may consist of messages that mark rows as gone.
        if batch.accepted != 0 or batch.refused is None:
            break
        rows += batch.refused
    return rows


def _reasons(run: DatasetRun, batch: PublishedBatch, published: Sequence[PublishedBatch]) -> dict[str, int]:
    """Count the batch's rejected rows that matter here, by reason, most frequent first; no reason shows a value."""
    from pyspark.sql import functions as F

    rows = run.spark.table(table_name(run.spark, QUARANTINE, run.name)).where(
        (F.col(RUN_COLUMN) == run.run_id) & (F.col(ATTEMPT_COLUMN) == batch.set_aside) & (F.col("reason") != TOMBSTONE)
    )
    groups = rows.groupBy("reason", "place").agg(F.count(F.lit(1)).alias("rows"))
    before = _set_aside_before(run, batch, published)
    if before is not None:
        repeated = F.least(F.col("rows"), F.coalesce(F.col("before"), F.lit(0)))
        groups = groups.join(before, ["reason", "place"], "left").withColumn("rows", F.col("rows") - repeated)
    reason = F.regexp_replace("reason", VALUE_IN_REASON.pattern, "$1").alias("reason")
    by_reason = groups.groupBy(reason).agg(F.sum("rows").alias("rows")).where("rows > 0")
    return {row["reason"]: row["rows"] for row in by_reason.orderBy(F.desc("rows"), "reason").collect()}


def _set_aside_before(run: DatasetRun, batch: PublishedBatch, published: Sequence[PublishedBatch]) -> DataFrame | None:
    """Count the rows that one earlier batch set aside, by `reason` and `place`, for rows not recognizable by their
    record.

    A record does not help if it is missing (masks), or if it shows other columns than the batch's. Returns None if
    there are no such rows.
    """
    from pyspark.sql import functions as F

    source, spec = run.dataset.source, run.spec
    if source is None or not source.overlaps_published or not spec.primary_key:
        return None
    counted = Counted(published)
    if not counted:
        return None
    rows = counted.rows(run.spark, run.name)
    last = next((earlier for earlier in reversed(published) if earlier.moved_position), None)
    # If the columns are those of the last run, every existing record can be recognized.
    if last is None or last.shape == batch.shape:
        rows = rows.where("record IS NULL")
    by_batch = rows.groupBy(RUN_COLUMN, ATTEMPT_COLUMN, "reason", "place").count()
    return by_batch.groupBy("reason", "place").agg(F.max("count").alias("before"))


def _named(reasons: dict[str, int]) -> str:
    """Name the most frequent reasons with their rows, and how many more there are."""
    named = "; ".join(f"{reason} ({rows})" for reason, rows in list(reasons.items())[:_MOST_REASONS])
    more = len(reasons) - _MOST_REASONS
    return f"{named}; and {more} more reasons" if more > 0 else named
