"""Transform: build a derived dataset's batch from pinned snapshots of its inputs.

A transform is `def NAME(inputs, partitions) -> DataFrame`. `inputs` maps dataset names to the live rows of their
curated tables as pinned. `partitions` is a DataFrame of the partition column's values to build, or None for all. Beside
it, `def NAME_partitions(changes, inputs) -> DataFrame` may say which partitions the changed rows (old and new versions
of each) touch. Without it every batch builds all partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import REJECTED_COLUMN, REJECTED_TYPE, SLICE_COLUMN, Column
from connectors.errors import LakeMoved, ObjectNotFound, SpecError
from jobs.contracts.columns import check_columns
from jobs.contracts.drift import check_drift
from jobs.lake.catalog import find_table
from jobs.lake.names import CURATED, RAW
from jobs.lake.schema import DELETED_COLUMN, quoted, table_name
from jobs.lake.tables import ensure_tables
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.plan_document import Pin
from jobs.runs.receipts import Receipt
from jobs.runs.stage_results import Sealed
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.spec.models import DatasetSpec
from jobs.stages.batch.attempt import Attempt
from jobs.stages.batch.curated_state import check_tables_unaltered, update_curated
from jobs.stages.batch.reconciliation import source_rows
from jobs.stages.batch.row_rejection import row_rejection
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.check.publish import step_back_if_late
from jobs.stages.transform.replaced_days import asked_days, check_days, check_partition_is_day, days_in
from jobs.stages.transform.transform_failure import mistakes_of
from jobs.stages.transform.user_code import find_function

ONLY_SLICE = 0


def transform(run: DatasetRun) -> Receipt | None:
    """Build one derived dataset's batch on a branch of raw and seal it.

    Raises:
        TransformFailed: the transform raised an exception.
        ObjectNotFound: the transform's module or function is missing, or it makes no such column.
        SchemaBroken: the columns changed in a way the lake cannot follow.
        SpecError: a dataset that replaces days is partitioned by something else, or asked for something else.
        LakeMoved: a pinned snapshot of an input is gone.
    """
    if run.dataset.state != "planned" or run.dataset.pins is None:
        return None
    try:
        return step_back_if_late(run, "transform", partial(_transform, run))
    except SpecError as error:
        error.where = error.where or run.dataset.where
        raise error.located(pipeline=run.context.plan.pipeline, dataset=run.name) from None


def _transform(run: DatasetRun) -> Receipt:
    assert run.dataset.pins is not None, "planned to be built"
    spec = run.spec
    assert spec.transform is not None, "a derived dataset has a transform"
    mistakes = partial(mistakes_of, spec.transform, run.name)
    with mistakes():
        build = find_function(spec.transform, run.context.settings.pipelines)
    for name, pin in run.dataset.pins.items():
        if not _has_snapshot(run, name, pin.snapshot_id):
            raise LakeMoved(
                f"snapshot {pin.snapshot_id} of curated.{name}, which the plan reads, was expired",
                fix="Clear plan with downstream (or run again), to plan afresh",
            )
    inputs = {name: _pinned(run, name, pin) for name, pin in run.dataset.pins.items()}
    partitions = _changed_partitions(run, spec, inputs)
    with mistakes():
        built = build(inputs, partitions)
        columns = tuple(
            Column(name=field.name, source_type="derived", spark_type=field.dataType.simpleString())
            for field in built.schema
        )
    check_columns(spec, columns, (), run.dataset.rules)
    check_partition_is_day(spec, columns)
    raw = find_table(run.context.catalog, RAW, run.name)
    for warning in check_drift(spec, columns, raw, run.context.documents):
        event("warning", stage="transform", dataset=run.name, warning=warning)
    unaltered = partial(check_tables_unaltered, run)
    ensure_tables(run.spark, run.name, columns, spec.bigquery.partition_by, unaltered)
    # The existing partitions, which must be emptied, are those of all published batches.
    update_curated(run)
    attempt = Attempt(run, columns)
    if ONLY_SLICE in attempt.done_slices and ONLY_SLICE not in attempt.stats:
        attempt.take_back([ONLY_SLICE])
    if ONLY_SLICE not in attempt.done_slices:
        seen = Observation()
        rows = built.observe(seen, F.count(F.lit(1)).alias("rows")).select(
            "*", F.lit(ONLY_SLICE).alias(SLICE_COLUMN), F.lit(None).cast(REJECTED_TYPE).alias(REJECTED_COLUMN)
        )
        rejection = row_rejection(run.dataset.rules, columns, spec.mask)
        with mistakes():
            attempt.append(as_landed(rows, columns, rejection, primary_key=spec.primary_key), [ONLY_SLICE])
        attempt.record(ONLY_SLICE, source_rows=int(seen.get["rows"]))
    counts = attempt.counts()
    if attempt.set_aside(counts.rejected):
        counts = attempt.counts()
    crash_point("extract.read", run.name)
    head = attempt.seal(counts, _named_partitions(run, spec, partitions, attempt))
    return run.new_receipt(
        "transform",
        "done",
        source_rows=source_rows(attempt.stats),
        read=counts.read,
        quarantined=sum(counts.quarantined.values()),
        details=Sealed(
            branch=head.branch,
            snapshot_id=head.snapshot_id,
            slices=dict(attempt.stats),
            columns=[column.name for column in columns],
        ),
    )


def _pinned(run: DatasetRun, name: str, pin: Pin) -> DataFrame:
    rows = run.spark.read.option("versionAsOf", pin.snapshot_id).table(table_name(run.spark, CURATED, name))
    if DELETED_COLUMN not in rows.columns:
        return rows
    return rows.where(F.col(DELETED_COLUMN).isNull()).drop(DELETED_COLUMN)


def _changed_partitions(run: DatasetRun, spec: DatasetSpec, inputs: Mapping[str, DataFrame]) -> DataFrame | None:
    """Return the partitions to build; None for all: at first, and if the old snapshots are gone."""
    assert spec.transform is not None, "a derived dataset has a transform"
    assert run.dataset.pins is not None, "a planned derived dataset has pins"
    if spec.write_disposition != "overwrite_partitions" or not run.dataset.previous_pins:
        return None
    if set(run.dataset.previous_pins) != set(run.dataset.pins):
        return None
    try:
        touched = find_function(spec.transform, run.context.settings.pipelines, "_partitions")
    except ObjectNotFound:
        return None
    changes = {}
    for name in run.dataset.pins:
        before = run.dataset.previous_pins[name]
        if not _has_snapshot(run, name, before.snapshot_id):
            return None
        new = inputs[name]
        old = _pinned(run, name, before)
        shared = [column for column in new.columns if column in old.columns]
        # A row may have lain in another partition before it changed: both count.
        changes[name] = _differing(new, old, shared)
    with mistakes_of(f"{spec.transform}_partitions", run.name):
        return touched(changes, inputs).distinct().localCheckpoint()


def _differing(new: DataFrame, old: DataFrame, columns: list[str]) -> DataFrame:
    named = [F.col(quoted(column)) for column in columns]
    return (
        new.select(*named).exceptAll(old.select(*named)).unionByName(old.select(*named).exceptAll(new.select(*named)))
    )


def _has_snapshot(run: DatasetRun, name: str, snapshot_id: int) -> bool:
    table = find_table(run.context.catalog, CURATED, name)
    return table is not None and table.metadata.snapshot_by_id(snapshot_id) is not None


def _named_partitions(
    run: DatasetRun, spec: DatasetSpec, partitions: DataFrame | None, attempt: Attempt
) -> list[str] | None:
    """Return the partitions that the batch replaces, by name, so that emptied ones are emptied."""
    if spec.write_disposition != "overwrite_partitions":
        return None
    column = spec.bigquery.partition_by
    assert column is not None, "the spec requires partition_by"
    batch = attempt.batch().select(F.col(quoted(column)))
    if partitions is not None:
        asked = asked_days(partitions, column, f"{spec.transform}_partitions")
        check_days(days_in(batch, column), asked, column)
        return asked
    there = run.spark.table(table_name(run.spark, CURATED, run.name)).select(F.col(quoted(column)))
    return days_in(batch.union(there), column)
