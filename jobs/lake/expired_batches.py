"""Published batches that are gone from the log, as far as their rows in raw describe them.

Another tool expires the sealed snapshots of all batches but the last `TAGGED_BATCHES`. Raw keeps every row with the
number of its batch, so a batch can be read without its snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import Table

from connectors.errors import LakeAltered
from jobs.lake.batch_log import PublishedBatch, missing_batches
from jobs.lake.catalog import name_in
from jobs.lake.names import CURATED
from jobs.lake.row_counts import live_rows, reading_files
from jobs.lake.schema import BATCH_COLUMN, RUN_COLUMN

_COUNT = "count_all"


@dataclass(frozen=True)
class ExpiredBatch:
    """One batch on `main` whose sealed snapshot has expired. `rows` are those in raw; `run_id` is the run that moved
    them, None for a batch without rows. Nothing else is known: it may be a batch of a requested window."""

    batch: int
    run_id: str | None
    rows: int
    snapshot_id: None = None
    window_start: None = None
    window_end: None = None
    partitions: None = None
    reads_on: bool = False


def expired_batches(raw: Table, published: Sequence[PublishedBatch]) -> list[ExpiredBatch]:
    """Return the batches of a raw table that are gone from its log, oldest first. Their rows are counted in its files.

    Args:
        published: the batches that are in the log (`verified_batches`).

    Raises:
        LakeAltered: these batches and those of the log together are not what the table holds.
        ServiceUnavailable: the lake cannot be read.
    """
    missing = missing_batches(published)
    if not missing:
        return []
    counted = _count(raw, missing[0], missing[-1])
    expired = [counted.get(number, _Counted()).batch(number) for number in missing]
    _check_rows(raw, sum(batch.rows for batch in published) + sum(batch.rows for batch in expired))
    return expired


@dataclass
class _Counted:
    rows: int = 0
    runs: set[str] = field(default_factory=set)

    def batch(self, number: int) -> ExpiredBatch:
        return ExpiredBatch(number, min(self.runs, default=None), self.rows)


def _count(raw: Table, first: int, last: int) -> dict[int, _Counted]:
    """Count rows and runs by batch, for the batches with these numbers."""
    within = And(
        GreaterThanOrEqual(term=BATCH_COLUMN, value=first),
        LessThanOrEqual(term=BATCH_COLUMN, value=last),
    )
    scan = raw.scan(row_filter=within, selected_fields=(BATCH_COLUMN, RUN_COLUMN))
    reader = ArrowScan(
        table_metadata=raw.metadata, io=raw.io, projected_schema=scan.projection(), row_filter=scan.row_filter
    )
    counted: dict[int, _Counted] = {}
    with reading_files(raw, f"rows of batches {first} to {last}"):
        # File by file: a scan of all of them would decode them ahead of its reader.
        for task in scan.plan_files():
            for rows in reader.to_record_batches([task]):
                groups = pa.Table.from_batches([rows]).group_by([BATCH_COLUMN, RUN_COLUMN])
                for group in groups.aggregate([([], _COUNT)]).to_pylist():
                    batch = counted.setdefault(int(group[BATCH_COLUMN]), _Counted())
                    batch.rows += int(group[_COUNT])
                    if group[RUN_COLUMN] is not None:
                        batch.runs.add(str(group[RUN_COLUMN]))
    return counted


def _check_rows(raw: Table, rows: int) -> None:
    """Check that all batches together have the table's rows: nothing says how many rows an expired batch had."""
    current = raw.current_snapshot()
    assert current is not None, "batches are in snapshots"
    live = live_rows(raw, current)
    if live == rows:
        return
    name = ".".join(raw.name())
    raise LakeAltered(
        f"{name} holds {'an unknown number of' if live is None else live} rows, and its batches have {rows}: which "
        "belong to the batches that are gone from its log is not certain",
        fix=f"Restore the table's metadata from before. To start over: drop {name}, {name_in(raw, CURATED)}, and the "
        "dataset's table and ledger in BigQuery, then run again; the next run reads the source in full, and Kafka and "
        "S3 bring only what they still have",
    )
