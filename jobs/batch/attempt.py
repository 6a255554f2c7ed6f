"""An attempt to bring a batch into the lake: rows on a branch, bad ones set aside, sealed with its counts.

Read = raw + quarantine holds at the seal or there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from connectors.errors import ReconciliationFailed
from jobs.crash import crash_point
from jobs.lake import batches
from jobs.lake.branches import Head, RawTable
from jobs.lake.catalog import QUARANTINE
from jobs.lake.position import write_position
from jobs.lake.schema import BATCH_COLUMN, RUN_COLUMN, quoted, raw_columns, table_name
from jobs.plan_document import DatasetPlan
from jobs.spark import session_with_properties

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.stages import Context

SET_ASIDE = batches.PREFIX + "set-aside"
SOURCE_ROWS = batches.PREFIX + "source-rows"


@dataclass
class Counts:
    """Rows by slice id: as the source says, in raw, in quarantine."""

    source: dict[int, int] = field(default_factory=dict)
    raw: dict[int, int] = field(default_factory=dict)
    quarantined: dict[int, int] = field(default_factory=dict)

    def differing(self, slices: Sequence[int]) -> list[int]:
        """Slices in which read is not raw + quarantine."""
        return [s for s in slices if self.source.get(s) != self.raw.get(s, 0) + self.quarantined.get(s, 0)]

    def first_difference(self, slices: Sequence[int]) -> str:
        """The first such slice with its counts, for an error."""
        first = self.differing(slices)[0]
        return (
            f"slice {first}: the source has {self.source.get(first)} rows, "
            f"raw {self.raw.get(first, 0)} and quarantine {self.quarantined.get(first, 0)}"
        )


class Attempt:
    """One attempt of one run at one dataset, on its own branch."""

    def __init__(self, context: Context, dataset: DatasetPlan, columns: Sequence[Column]) -> None:
        self._context = context
        self._dataset = dataset
        self._columns = tuple(columns)
        self._spark: SparkSession = context.spark
        self.table = RawTable(self._spark, dataset.name)
        self._head = self.table.open_attempt(context.plan.run_id, dataset.generation, dataset.base_snapshot_id)
        self._done = _numbers(self._head.properties.get(batches.SLICES)) if self._ours(self._head) else []
        self._source_rows = _counts(self._head.properties.get(SOURCE_ROWS)) if self._ours(self._head) else {}
        self._aside = self._ours(self._head) and SET_ASIDE in self._head.properties

    @property
    def done_slices(self) -> list[int]:
        """Slices that an earlier attempt, or this one, has brought in."""
        return list(self._done)

    @property
    def source_rows(self) -> Mapping[int, int]:
        """Rows by slice as the source said when it was read."""
        return dict(self._source_rows)

    @property
    def set_aside_done(self) -> bool:
        return self._aside

    def append(self, rows: DataFrame, slices: Sequence[int]) -> None:
        """Append slices to the branch in one commit; `rows` are as `landing.as_landed` leaves them."""
        from pyspark.sql import functions as F

        marked = rows.select(
            *[F.col(quoted(column.name)) for column in self._columns],
            F.lit(self._context.plan.run_id).alias(RUN_COLUMN),
            F.lit(self._dataset.batch).cast("bigint").alias(BATCH_COLUMN),
            F.col(SLICE_COLUMN).cast("int").alias(SLICE_COLUMN),
            F.col(REJECTED_COLUMN),
        )
        done = sorted({*self._done, *slices})
        self.table.append(marked, self._head.branch, self._properties(done))
        self._done = done
        crash_point("extract.appended", self._dataset.name)

    def note_source_rows(self, counts: Mapping[int, int]) -> None:
        """Remember what the source said of slices; it goes into the next commit's properties."""
        self._source_rows |= counts

    def take_back(self, slices: Sequence[int]) -> None:
        """Remove slices from the branch, so that they can be read again."""
        self._done = [s for s in self._done if s not in slices]
        self._source_rows = {s: n for s, n in self._source_rows.items() if s not in slices}
        inside = ", ".join(str(int(s)) for s in slices)
        self._sql(f"DELETE FROM {self._branch} WHERE {self._mine} AND {SLICE_COLUMN} IN ({inside})", {})

    def set_aside(self) -> bool:
        """Move the rejected rows from the branch to quarantine: written per run, replaced by run id.

        Returns:
            Whether there were any.
        """
        from pyspark.sql import functions as F

        if self._aside:
            return True
        rejected = self.batch().where(f"{REJECTED_COLUMN}.reason IS NOT NULL")
        place = F.to_json(
            F.struct(
                *[F.col(quoted(column.name)) for column in self._columns if column.name.startswith("_")]
                or [F.lit(None).alias("_")]
            )
        )
        quarantine = table_name(QUARANTINE, self._dataset.name)
        bad = rejected.select(
            F.col(RUN_COLUMN),
            F.lit(self._dataset.generation).cast("int").alias("generation"),
            F.col(BATCH_COLUMN),
            F.col(SLICE_COLUMN),
            F.col(f"{REJECTED_COLUMN}.reason").alias("reason"),
            place.alias("place"),
            F.col(f"{REJECTED_COLUMN}.record").alias("record"),
            F.current_timestamp().alias("quarantined_at"),
        )
        mine = F.col(RUN_COLUMN) == self._context.plan.run_id
        any_bad = not rejected.isEmpty()
        if any_bad or not self._spark.table(quarantine).where(mine).isEmpty():
            bad.writeTo(quarantine).overwrite(mine)
        crash_point("extract.quarantined", self._dataset.name)
        if any_bad:
            self._sql(
                f"DELETE FROM {self._branch} WHERE {self._mine} AND {REJECTED_COLUMN}.reason IS NOT NULL",
                {SET_ASIDE: "true"},
            )
        self._aside = True
        return any_bad

    def counts(self) -> Counts:
        """What is in the lake now, by slice, read back from the files."""
        return count_in_lake(
            self._spark,
            self.table,
            self.table.head(self._head.branch).snapshot_id,
            self._context.plan.run_id,
            self._dataset,
            self._source_rows,
        )

    def seal(self, counts: Counts, partitions: Sequence[str] | None = None) -> Head:
        """Close the batch: its counts and position become properties of the branch's last snapshot."""
        plan, dataset = self._context.plan, self._dataset
        position = dataset.position if dataset.moves_position else dataset.start_position
        properties = self._properties(self._done) | {
            batches.SEALED: "true",
            batches.ROWS: str(sum(counts.raw.values())),
            batches.QUARANTINED: str(sum(counts.quarantined.values())),
            SET_ASIDE: "true",
        }
        window = dataset.window
        optional = {
            batches.POSITION: write_position(self._context.documents, dataset.name, position),
            batches.WINDOW_START: window.start if window else None,
            batches.WINDOW_END: window.end if window else None,
            batches.PARTITIONS: json.dumps(list(partitions)) if partitions is not None else None,
        }
        properties |= {key: value for key, value in optional.items() if value is not None}
        if counts.differing(self._done):
            raise ReconciliationFailed(
                counts.first_difference(self._done), pipeline=plan.pipeline, dataset=dataset.name
            )
        return self.table.seal(self._head.branch, properties)

    @property
    def _branch(self) -> str:
        return f"{self.table.name}.branch_{self._head.branch}"

    @property
    def _mine(self) -> str:
        # The branch begins at the plan's base, so no other run's rows carry this number on it.
        return f"{BATCH_COLUMN} = {int(self._dataset.batch)}"

    def batch(self) -> DataFrame:
        """The rows of this batch, as they are on the branch now."""
        return batch_rows(
            self.table, self.table.head(self._head.branch).snapshot_id, self._context.plan.run_id, self._dataset.batch
        )

    def _ours(self, head: Head) -> bool:
        properties = head.properties
        return (
            properties.get(batches.RUN_ID) == self._context.plan.run_id
            and properties.get(batches.GENERATION) == str(self._dataset.generation)
            and properties.get(batches.BATCH) == str(self._dataset.batch)
        )

    def _properties(self, slices: Sequence[int]) -> dict[str, str]:
        return {
            batches.RUN_ID: self._context.plan.run_id,
            batches.GENERATION: str(self._dataset.generation),
            batches.BATCH: str(self._dataset.batch),
            batches.SLICES: json.dumps(list(slices)),
            SOURCE_ROWS: json.dumps(self._source_rows),
        }

    def _sql(self, statement: str, properties: Mapping[str, str]) -> None:
        session_with_properties(self._spark, {**self._properties(self._done), **properties}).sql(statement)


def batch_rows(table: RawTable, snapshot_id: int, run_id: str, batch: int) -> DataFrame:
    """The rows of one run's batch as of a snapshot."""
    from pyspark.sql import functions as F

    return table.rows(snapshot_id).where((F.col(BATCH_COLUMN) == batch) & (F.col(RUN_COLUMN) == run_id))


def count_in_lake(
    spark: SparkSession,
    table: RawTable,
    snapshot_id: int,
    run_id: str,
    dataset: DatasetPlan,
    source_rows: Mapping[int, int],
) -> Counts:
    """Rows by slice of a run's batch, counted from the files of raw and quarantine."""
    from pyspark.sql import functions as F

    raw = batch_rows(table, snapshot_id, run_id, dataset.batch).groupBy(SLICE_COLUMN).count().collect()
    quarantine = spark.table(table_name(QUARANTINE, dataset.name)).where(
        (F.col(RUN_COLUMN) == run_id) & (F.col("generation") == dataset.generation)
    )
    bad = quarantine.groupBy(SLICE_COLUMN).count().collect()
    return Counts(
        source=dict(source_rows),
        raw={row[0]: row[1] for row in raw},
        quarantined={row[0]: row[1] for row in bad},
    )


def lake_columns(columns: Sequence[Column]) -> list[str]:
    """Names of a raw table's columns, for the schema contract."""
    return [column.name for column in raw_columns(columns)]


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in json.loads(text)] if text else []


def _counts(text: str | None) -> dict[int, int]:
    return {int(slice_id): int(rows) for slice_id, rows in json.loads(text).items()} if text else {}
