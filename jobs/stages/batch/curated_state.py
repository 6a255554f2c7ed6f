"""Brings a dataset's current state (curated) up to its published log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.errors import LakeMoved
from jobs.lake.batch_log import consumed_batch
from jobs.lake.catalog import find_table
from jobs.lake.curated import catch_up
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.lake.names import CURATED, RAW
from jobs.lake.schema import table_name
from jobs.runs.dataset_run import DatasetRun

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check_tables_unaltered(run: DatasetRun) -> None:
    """Check that the dataset's tables are as Lakeferry left them.

    Raises:
        LakeAltered: their rows, columns or history were changed from outside.
    """
    curated, raw = (find_table(run.context.catalog, namespace, run.name) for namespace in (CURATED, RAW))
    verified_consumed(curated, raw, verified_batches(raw))


def update_curated(run: DatasetRun) -> None:
    """Merge into curated the published batches it lacks. For the errors see `curated.catch_up`."""
    spec = run.spec
    identity = run.dataset.identity
    catch_up(
        lambda: run.spark,
        run.context.catalog,
        run.name,
        spec.write_disposition,
        keys=tuple(spec.primary_key) or identity.place,
        versions=identity.versions,
        log=identity.log,
        partition_by=spec.bigquery.partition_by,
    )


def state_at_base(run: DatasetRun) -> DataFrame:
    """Return the rows of curated as they stand at the batch a plan builds on, pinned by their snapshot.

    A run that published and died has left curated behind, so the missing batches are merged first. These rows do not
    contain what another run publishes from then on.

    Raises:
        LakeMoved: a later batch is merged already. Its rows would be compared with those the plan read before them.
    """
    update_curated(run)
    curated = find_table(run.context.catalog, CURATED, run.name)
    snapshot = curated.current_snapshot() if curated else None
    if snapshot is None or consumed_batch(curated) != run.dataset.batch - 1:
        raise LakeMoved(
            f"another run has published a batch of {run.name} since this one was planned",
            fix="Clear plan with downstream (or run again): the keys will be compared afresh",
        )
    return run.spark.read.option("versionAsOf", snapshot.snapshot_id).table(table_name(run.spark, CURATED, run.name))
