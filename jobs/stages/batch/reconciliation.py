"""Reconciliation: compares, slice by slice, what the source reports with what came into the lake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, SLICE_COLUMN
from jobs.lake.quarantine import set_aside_by_slice
from jobs.lake.raw_table import RawTable
from jobs.lake.row_hash import sum_of_hashes
from jobs.lake.schema import BATCH_COLUMN, RUN_COLUMN
from jobs.runs.stage_results import Sealed, SliceStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession


TOMBSTONE_SLICE, RETURNED_SLICE = -1, -2
"""Ids of the slices that a sweep adds to the plan's: rows marked as deleted, and rows that came back."""
SWEPT = (TOMBSTONE_SLICE, RETURNED_SLICE)
_SWEPT_ROWS = {TOMBSTONE_SLICE: "deleted rows", RETURNED_SLICE: "rows that came back"}


@dataclass
class SliceCounts:
    """Rows by slice in raw and in quarantine, and the hashes of those in raw if they were asked for. `rejected` counts
    the rows in raw that are still to be set aside."""

    raw: dict[int, int] = field(default_factory=dict)
    quarantined: dict[int, int] = field(default_factory=dict)
    row_hash: dict[int, int] = field(default_factory=dict)
    rejected: int = 0

    @property
    def read(self) -> int:
        return sum(self.raw.values()) + sum(self.quarantined.values())


def mismatch(slice_id: int, stats: SliceStats, counts: SliceCounts) -> str | None:
    """Describe how a slice fails to reconcile. Returns None if read = published + quarantined, value by value."""
    rows_of = _SWEPT_ROWS.get(slice_id, f"slice {slice_id}")
    raw, bad = counts.raw.get(slice_id, 0), counts.quarantined.get(slice_id, 0)
    if stats.source_rows is not None and stats.source_rows != raw + bad + stats.known_rows:
        known = f", {stats.known_rows} are known from earlier batches" if stats.known_rows else ""
        return f"{rows_of}: the source has {stats.source_rows} rows, raw {raw} and quarantine {bad}{known}"
    if stats.altered_rows:
        return f"{rows_of}: {stats.altered_rows} of {raw + bad} rows did not arrive as the source has them"
    if counts.row_hash and stats.row_hash is not None and stats.row_hash != counts.row_hash.get(slice_id, 0):
        return f"{rows_of}: the lake's files do not hold the {raw} rows that were read"
    return None


def mismatches(slices: Iterable[int], stats: Mapping[int, SliceStats], counts: SliceCounts) -> dict[int, str]:
    """Return the slices that do not reconcile, and why."""
    compared = {slice_id: mismatch(slice_id, stats.get(slice_id, SliceStats()), counts) for slice_id in slices}
    return {slice_id: reason for slice_id, reason in compared.items() if reason is not None}


def source_rows(stats: Mapping[int, SliceStats]) -> int | None:
    """Return the source's count of all slices; None if the source was not asked."""
    counts = [slice_stats.source_rows for slice_stats in stats.values()]
    return None if None in counts else sum(rows for rows in counts if rows is not None)


def altered(fingerprint: SparkColumn | None) -> SparkColumn:
    """Whether a row as read differs from the row the source made its fingerprint of.

    `fingerprint` is that of what arrived, None if the source makes none. An undecodable row has no values to
    compare; its text goes to quarantine as it came.
    """
    from pyspark.sql import functions as F

    if fingerprint is None:
        return F.lit(False)
    return F.col(f"{REJECTED_COLUMN}.reason").isNull() & ~fingerprint.eqNullSafe(F.col(FINGERPRINT_COLUMN))


def count_in_lake(
    spark: SparkSession,
    rows: DataFrame,
    dataset: str,
    run_id: str,
    set_aside_by: str | None,
    hashed: Sequence[str] = (),
) -> SliceCounts:
    """Count a batch by slice, from the files of raw and quarantine.

    Args:
        rows: the batch as it stands in raw.
        set_aside_by: the run's attempt whose rows in quarantine belong to the batch; None if there is no such attempt.
        hashed: columns whose values are hashed as well; if empty, rows are only counted.
    """
    from pyspark.sql import functions as F

    good = F.col(f"{REJECTED_COLUMN}.reason").isNull()
    aggregates = [F.count(F.lit(1)), F.count_if(~good)]
    if hashed:
        aggregates.append(sum_of_hashes(hashed, RawTable(spark, dataset).schema, good))
    raw = rows.groupBy(SLICE_COLUMN).agg(*aggregates).collect()
    return SliceCounts(
        raw={row[0]: row[1] for row in raw},
        quarantined=set_aside_by_slice(spark, dataset, run_id, set_aside_by),
        row_hash={row[0]: int(row[3] or 0) for row in raw} if hashed else {},
        rejected=sum(row[2] for row in raw),
    )


def batch_rows(table: RawTable, snapshot_id: int, run_id: str, batch: int) -> DataFrame:
    """Return the rows of one run's batch in a snapshot."""
    from pyspark.sql import functions as F

    return table.rows(snapshot_id).where((F.col(BATCH_COLUMN) == batch) & (F.col(RUN_COLUMN) == run_id))


def hashed_columns(sealed: Sealed) -> list[str]:
    """Return the columns by which a batch's slices were hashed; empty if the slices were only counted."""
    return sealed.columns if any(stats.row_hash is not None for stats in sealed.slices.values()) else []
