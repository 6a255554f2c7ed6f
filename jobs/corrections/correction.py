"""A correction: a published batch that BigQuery refuses loses some of its rows, under a batch number of its own.

The rows leave raw on a branch, go to quarantine with the user's reason, and count there once the branch is published.
The sealed snapshot says how many rows of which batch it sets aside (`lakeferry.corrects`), so read = published +
quarantined stays true of both batches. Curated is brought to what the merges would have left without the rows.

The condition may hold personal values. It is in no property, receipt, message or command line of ours.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.table import Table

from connectors.base import READ_COLUMNS, REJECTED_COLUMN, SLICE_COLUMN
from connectors.bigquery.ledger import Ledger, shared_entries
from connectors.errors import CuratedBehind, LakeferryError, LakeMoved, LoadRefused, ReconciliationFailed, UsageError
from jobs.contracts.raw_owner import check_owner
from jobs.corrections.condition import asked_silently, checked_condition
from jobs.lake import batch_log as batches
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.catalog import find_table, open_catalog
from jobs.lake.curated import catch_up
from jobs.lake.documents import open_documents
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.lake.java_api import java_table
from jobs.lake.names import CURATED, QUARANTINE, RAW
from jobs.lake.raw_table import Head, RawTable, branch_prefix, until_committed
from jobs.lake.schema import (
    ATTEMPT_COLUMN,
    BATCH_COLUMN,
    DELETED_COLUMN,
    GENERATION_COLUMN,
    RUN_COLUMN,
    WITHOUT_NULLS,
    literal,
    quoted,
    table_name,
)
from jobs.lake.spark_session import session_with_properties
from jobs.lake.tables import ensure_quarantine, restore_properties
from jobs.runs.receipts import Receipt, Receipts
from jobs.runs.row_identity import place_of, row_identity
from jobs.runs.stage_results import Proved
from jobs.runtime.events import concern_run
from jobs.runtime.fault_points import crash_point
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec, PipelineSpec
from jobs.warehouse.client import open_warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

GENERATION = 1
"""A correction is not planned: a second one of the same rows is another run."""
LONGEST_REASON = 500
"""How many characters a reason may have."""


@dataclass(frozen=True)
class Correction:
    """What a correction sets aside: `rows` of the `of_rows` that `corrects` has in raw. `batch` is its own number,
    `run_id` that of its receipt. Both are missing (None) if nothing was written."""

    corrects: int
    rows: int
    of_rows: int
    batch: int | None = None
    run_id: str | None = None


def correct(
    spec: PipelineSpec,
    dataset: DatasetSpec,
    settings: Settings,
    session: Callable[[], SparkSession],
    *,
    batch: int,
    where: str,
    reason: str,
    dry_run: bool = False,
) -> Correction:
    """Set rows of a published batch aside that BigQuery has not loaded yet.

    Args:
        session: opens Spark.
        batch: the number of the batch.
        where: a condition of Spark SQL over the columns of the dataset's raw table.
        reason: the user's words, kept with each row.
        dry_run: count only; nothing is written.

    Raises:
        SpecError: the raw table belongs to another pipeline.
        UsageError: the batch or the condition is unfit, or no row matches.
        LakeMoved: another run published meanwhile; nothing was corrected.
        CuratedBehind: the correction is published; the pipeline's next run finishes the work.
        LakeAltered: the lake was changed from outside.
        LoadRefused: BigQuery loaded the batch while this correction was made.
        ServiceUnavailable, AccessDenied: the lake or BigQuery does not answer.
    """
    started = time.monotonic()
    text = _reason(reason)
    catalog = open_catalog(settings)
    raw, curated = find_table(catalog, RAW, dataset.name), find_table(catalog, CURATED, dataset.name)
    published = verified_batches(raw)
    verified_consumed(curated, raw, published)
    check_owner(spec, dataset.name, published)
    _check_batch(spec, dataset, published, batch)
    assert raw is not None, "it has batches"
    _check_not_loaded(dataset, settings, batch)
    spark = session()
    writing = _Writing(spark, spec, dataset, raw, published, batch)
    affected = writing.look(where)
    if dry_run:
        return affected
    head = writing.write(where, text, affected)
    crash_point("correct.sealed", dataset.name)
    writing.publish(head)
    crash_point("correct.published", dataset.name)
    Receipts(open_documents(settings.lake)).leave(
        Receipt(
            pipeline=spec.pipeline,
            run_id=writing.run_id,
            generation=GENERATION,
            stage="check",
            dataset=dataset.name,
            verdict="done",
            batch=writing.number,
            read=0,
            published=-affected.rows,
            quarantined=affected.rows,
            seconds=round(time.monotonic() - started, 3),
            details=Proved(corrects=batch, snapshot_id=head.snapshot_id),
        )
    )
    identity = row_identity(spec, dataset)
    try:
        catch_up(
            lambda: spark,
            catalog,
            dataset.name,
            dataset.write_disposition,
            keys=tuple(dataset.primary_key) or identity.place,
            versions=identity.versions,
            log=identity.log,
            partition_by=dataset.bigquery.partition_by,
        )
    except LakeferryError as error:
        raise CuratedBehind(
            f"the correction is published as batch {writing.number}, and curated.{dataset.name} lacks it: "
            f"{error.problem}",
            fix=f"Do not correct batch {batch} again. The pipeline's next run brings curated up, then BigQuery",
        ) from error
    _check_not_loaded_meanwhile(dataset, settings, batch)
    return Correction(batch, affected.rows, affected.of_rows, writing.number, writing.run_id)


class _Writing:
    """One correction on its way into the lake; `raw` and `published` are from one read of the table."""

    def __init__(
        self,
        spark: SparkSession,
        spec: PipelineSpec,
        dataset: DatasetSpec,
        raw: Table,
        published: list[PublishedBatch],
        batch: int,
    ) -> None:
        main = raw.metadata.current_snapshot_id
        assert main is not None, "batches are in snapshots"
        self.run_id = f"correct-{uuid.uuid4().hex[:12]}"
        concern_run(spec.pipeline, self.run_id)
        self.number = published[-1].batch + 1
        self._spark = spark
        self._spec = spec
        self._dataset = dataset
        self._last = published[-1]
        self._batch = batch
        self._main = main
        self._table = RawTable(spark, dataset.name)

    def look(self, where: str) -> Correction:
        """Count the rows that the condition matches.

        Raises:
            UsageError: the condition is unfit, or matches no row.
        """
        from pyspark.sql import functions as F

        rows = self._rows(self._main)
        checked_condition(self._spark, rows, where)
        with asked_silently(rows):
            counted = rows.agg(F.count(F.lit(1)), F.count_if(F.expr(where))).first()
        assert counted is not None, "an aggregate has one row"
        if not counted[1]:
            raise UsageError(
                f"none of {counted[0]:,} rows of batch {self._batch} of {self._table.name} matches the condition",
                fix="See the values in raw (the lake has them as masked); nothing was changed",
            )
        return Correction(self._batch, int(counted[1]), int(counted[0]))

    def write(self, where: str, reason: str, expected: Correction) -> Head:
        """Remove the rows from a branch, put them into quarantine, and seal the branch. Returns its head.

        Raises:
            ReconciliationFailed: raw and quarantine together do not hold what raw held.
        """
        until_committed(
            lambda: restore_properties(java_table(self._spark, self._table.name), self._table.name, "check")
        )
        ensure_quarantine(self._spark, self._dataset.name)
        head = self._table.open_attempt(self.run_id, GENERATION, self._main)
        try:
            return self._write(head, where, reason, expected)
        except Exception:
            self._give_up()
            raise

    def _write(self, head: Head, where: str, reason: str, expected: Correction) -> Head:
        from pyspark.sql import functions as F

        branch = f"{self._table.name}.branch_{head.branch}"
        properties = {
            batches.RUN_ID: self.run_id,
            batches.GENERATION: str(GENERATION),
            batches.BATCH: str(self.number),
        }
        # With the condition on the run, Spark drops no file by metadata; such a commit lacks the session's properties.
        # The user's condition is on lines of its own: it may end in a comment.
        matching = f"{BATCH_COLUMN} = {self._batch:d} AND length({RUN_COLUMN}) > 0 AND (\n{where}\n)"
        beside = session_with_properties(self._spark, properties)
        with asked_silently(self._rows(self._main)):
            beside.sql(f"DELETE FROM {branch} WHERE {matching}")
        crash_point("correct.deleted", self._dataset.name)
        now = self._table.head(head.branch).snapshot_id
        kept = self._rows(now)
        # The rows that are gone, not those that the condition matches when it is evaluated once more.
        gone = self._rows(self._main).exceptAll(kept)
        attempt = head.branch.removeprefix(f"{branch_prefix(self.run_id)}_")
        quarantine = table_name(self._spark, QUARANTINE, self._dataset.name)
        self._as_set_aside(gone, reason, attempt).writeTo(quarantine).append()
        crash_point("correct.quarantined", self._dataset.name)
        aside = self._spark.table(quarantine).where(
            (F.col(RUN_COLUMN) == self.run_id) & (F.col(ATTEMPT_COLUMN) == attempt)
        )
        there = (kept.count(), aside.count())
        if there != (expected.of_rows - expected.rows, expected.rows):
            raise ReconciliationFailed(
                f"batch {self._batch} has {expected.of_rows} rows, {expected.rows} of which match the condition; "
                f"{there[0]} would stay in raw and {there[1]} be in quarantine",
                fix="Nothing was changed. The condition must match the same rows whenever it is asked",
            )
        return self._table.seal(head.branch, properties | self._sealed(expected.rows, attempt))

    def publish(self, head: Head) -> None:
        """Publish the correction, so that every reader sees it.

        Raises:
            LakeMoved: main is no longer where it was read.
        """
        if self._table.publish(head, self.run_id, self.number, self._main):
            return
        self._give_up()
        raise LakeMoved(
            f"another run published into {self._table.name} while this correction was made; nothing was changed",
            fix="Run the command again",
        )

    def _give_up(self) -> None:
        """Remove the branch and its rows in quarantine: they do not count, and would look like a batch's."""
        self._table.drop_attempts(self.run_id)
        quarantine = table_name(self._spark, QUARANTINE, self._dataset.name)
        self._spark.sql(f"DELETE FROM {quarantine} WHERE {RUN_COLUMN} = {literal(self.run_id)}")

    def _rows(self, snapshot_id: int) -> DataFrame:
        """Return the batch's rows at a snapshot."""
        from pyspark.sql import functions as F

        return self._table.rows(snapshot_id).where(F.col(BATCH_COLUMN) == self._batch).drop(REJECTED_COLUMN)

    def _as_set_aside(self, rows: DataFrame, reason: str, attempt: str) -> DataFrame:
        """Return the rows as quarantine has them: record and place as extract writes them."""
        from pyspark.sql import functions as F

        own = {RUN_COLUMN, BATCH_COLUMN, DELETED_COLUMN, *READ_COLUMNS}
        columns = [name for name in rows.columns if name not in own]
        at = row_identity(self._spec, self._dataset).place_columns(self._dataset.primary_key, columns)
        place = place_of(at)
        whole = F.struct(*[F.col(quoted(name)) for name in columns])
        return rows.select(
            F.lit(self.run_id).alias(RUN_COLUMN),
            F.lit(GENERATION).cast("int").alias(GENERATION_COLUMN),
            F.lit(self.number).cast("bigint").alias(BATCH_COLUMN),
            F.col(SLICE_COLUMN),
            F.lit(f"set aside from batch {self._batch}: {reason}").alias("reason"),
            place.alias("place"),
            # `jobs/stages/extract/known_rows.py` compares it with rows that are read again.
            F.to_json(whole, WITHOUT_NULLS).alias("record"),
            F.current_timestamp().alias("quarantined_at"),
            F.lit(attempt).alias(ATTEMPT_COLUMN),
        )

    def _sealed(self, rows: int, attempt: str) -> dict[str, str]:
        """Return the sealed snapshot's properties. Position and shape are those of the batch before, unchanged."""
        replaces = self._dataset.write_disposition == "overwrite_partitions"
        optional = {
            batches.POSITION: _carried(self._last.position),
            batches.SHAPE: _carried(self._last.shape),
            batches.PARTITIONS: "[]" if replaces else None,
        }
        return {
            batches.SEALED: "true",
            batches.PIPELINE: self._spec.pipeline,
            batches.ROWS: "0",
            batches.QUARANTINED: str(rows),
            batches.SET_ASIDE: attempt,
            batches.MOVED_POSITION: "false",
            batches.CORRECTS: json.dumps({str(self._batch): rows}),
            **{key: value for key, value in optional.items() if value is not None},
        }


def _reason(reason: str) -> str:
    text = " ".join(reason.split())
    if not text or len(text) > LONGEST_REASON:
        raise UsageError(
            f"the reason has {len(text)} characters",
            choices=[f"1 to {LONGEST_REASON} characters"],
            fix="It is kept with each row and shown by lakeferry quarantine: write why, and no value of a row",
        )
    return text


def _check_batch(spec: PipelineSpec, dataset: DatasetSpec, published: list[PublishedBatch], batch: int) -> None:
    if dataset.write_disposition == "replace":
        raise UsageError(
            "a dataset with write_disposition replace needs no correction: load brings its newest batch only",
            fix=f"Mend the rows at the source, or reject them with a row rule, then lakeferry run {spec.pipeline}",
        )
    newest = published[-1].batch if published else 0
    if not 1 <= batch <= newest:
        raise UsageError(
            f"batch {batch} is not published", choices=[f"1 to {newest}" if newest else "none: nothing is published"]
        )
    known = {published_batch.batch for published_batch in published}
    expired = [number for number in range(batch, newest + 1) if number not in known]
    if expired and dataset.write_disposition == "overwrite_partitions":
        raise UsageError(
            f"the snapshots of batches {', '.join(map(str, expired))} were expired from outside, and they named the "
            "partitions that the batches replace",
            fix="Drop the raw and curated tables of the dataset: the next run builds all partitions from the inputs",
        )


def _check_not_loaded(dataset: DatasetSpec, settings: Settings, batch: int) -> None:
    loaded = _loaded(dataset, settings)
    if loaded >= batch:
        raise UsageError(
            f"batch {batch} is loaded: BigQuery has come to batch {loaded}",
            choices=[f"batches after {loaded}"],
            fix="A row that is in BigQuery is corrected at its source: the next run brings the new version",
        )


def _check_not_loaded_meanwhile(dataset: DatasetSpec, settings: Settings, batch: int) -> None:
    """A load that was under way read the batch before it was corrected, and may have brought it after all."""
    loaded = _loaded(dataset, settings)
    if loaded >= batch:
        raise LoadRefused(
            f"batch {batch} was loaded while this correction was made: {dataset.bigquery.table} may hold rows that are "
            "in quarantine now",
            fix=Ledger(open_warehouse(settings), dataset.name).way_afresh(dataset.bigquery.table),
        )


def _loaded(dataset: DatasetSpec, settings: Settings) -> int:
    """Return the last batch that BigQuery has loaded; 0 before the first."""
    warehouse = open_warehouse(settings)
    warehouse.ping()
    entry = Ledger(warehouse, dataset.name).look() or shared_entries(warehouse).get(dataset.name)
    return entry.batch if entry is not None else 0


def _carried(value: object) -> str | None:
    """A property of JSON as it stands in the batch before."""
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
