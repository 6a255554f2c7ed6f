"""A batch of which too many rows are rejected is not published: a renamed field stops a run, it does not empty a table.

The rule judges a batch of at least ten rows by its own share. A smaller one says little: one bad row of two is no
reason to stop. But where every row of it is rejected, as of the batches right before it, all of them count together,
so that a source which sends few rows at a time is stopped as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from connectors.errors import TooManyRejected
from jobs.lake.batches import PublishedBatch
from jobs.lake.names import QUARANTINE
from jobs.lake.schema import ATTEMPT_COLUMN, RUN_COLUMN, table_name
from jobs.progress import event
from jobs.set_aside import VALUE_IN_REASON

if TYPE_CHECKING:
    from jobs.plan_document import DatasetPlan
    from jobs.stages import Context

LEAST_ROWS = 10
_MOST_REASONS = 3


def refuse_mostly_rejected(
    context: Context, dataset: DatasetPlan, batch: PublishedBatch, published: Sequence[PublishedBatch], deleted: int
) -> None:
    """Compare a batch's share of rejected rows with `most_quarantined`; warn where every row of a small one is.

    Args:
        batch: as it is sealed.
        published: the batches on `main`, oldest first.
        deleted: tombstones among the batch's rows, which are none of the source's.

    Raises:
        TooManyRejected: the share is above; names the most frequent reasons.
    """
    spec = context.spec(dataset)
    bad, read = batch.quarantined, batch.rows + batch.quarantined - deleted
    # Divided, not multiplied: 29 of 100 are not more than 0.29.
    if not bad or bad / read <= spec.most_quarantined:
        return
    problem = f"{bad:,} of {read:,} rows were rejected"
    in_a_row = 0
    if read < LEAST_ROWS:
        if bad < read:
            return
        in_a_row = _rejected_before(published)
        if bad + in_a_row < LEAST_ROWS:
            event(
                "warning",
                stage="check",
                dataset=dataset.name,
                warning=f"every row of the batch was rejected: {_reasons(context, dataset, batch)}",
            )
            return
        problem += f", and each of the {in_a_row:,} rows of the batches right before"
    share = 1.0 if in_a_row else min(ceil(bad / read * 1000) / 1000, 1.0)
    raise TooManyRejected(
        f"{problem}, more than most_quarantined: {spec.most_quarantined:g}. Nothing is published, and the position "
        f"stays. The most frequent reasons: {_reasons(context, dataset, batch)}",
        fix=f"lakeferry quarantine {context.plan.pipeline} shows the rows. Mend the source, or the columns and rules "
        f"of the spec; if these rows are meant to be set aside, write most_quarantined: {share:g} (1 accepts every "
        "share). Then clear plan with downstream, or run again",
    )


def _rejected_before(published: Sequence[PublishedBatch]) -> int:
    """Rows of the newest batches of which every row was rejected, back to one that brought a row."""
    rows = 0
    for batch in reversed(published):
        if batch.rows or not batch.quarantined:
            break
        rows += batch.quarantined
    return rows


def _reasons(context: Context, dataset: DatasetPlan, batch: PublishedBatch) -> str:
    """The most frequent reasons with their rows, and how many more there are; no value is in them."""
    from pyspark.sql import functions as F

    rows = context.spark.table(table_name(context.spark, QUARANTINE, dataset.name)).where(
        (F.col(RUN_COLUMN) == context.plan.run_id) & (F.col(ATTEMPT_COLUMN) == batch.set_aside)
    )
    reason = F.regexp_replace("reason", VALUE_IN_REASON.pattern, "$1").alias("reason")
    counted = rows.groupBy(reason).count().orderBy(F.desc("count"), "reason").collect()
    named = "; ".join(f"{row['reason']} ({row['count']:,})" for row in counted[:_MOST_REASONS])
    more = len(counted) - _MOST_REASONS
    return f"{named}; and {more} more reasons" if more > 0 else named
