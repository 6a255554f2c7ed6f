"""Finds the rows and columns of a slice that differ from the source, after a batch has failed."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.base import FINGERPRINT_COLUMN, SLICE_COLUMN, Dataset, Source, SourcePlan
from jobs.lake.schema import quoted
from jobs.runs.context import Context
from jobs.runs.plan_document import DatasetPlan
from jobs.stages.batch.attempt import Attempt
from jobs.stages.batch.reconciliation import altered

MOST = 3
"""How many rows a message names."""


def first_differences(
    context: Context, dataset: DatasetPlan, source: Source, request: Dataset, attempt: Attempt, slice_id: int
) -> str | None:
    """Describe the first rows of the slice that were altered, lost or doubled, by primary key; no value is shown.

    The slice is read once more. Returns None if no row can be named: without a primary key, with a masked one, or if
    the second read finds no difference.
    """
    assert dataset.source is not None, "only a source's batch is compared with it"
    keys = list(request.primary_key)
    if not keys or request.hidden.intersection(keys):
        return None
    plan = dataset.source.only([slice_id])
    with source.reading(plan):
        return _told(context, dataset, source, request, attempt, plan)


def _told(
    context: Context, dataset: DatasetPlan, source: Source, request: Dataset, attempt: Attempt, plan: SourcePlan
) -> str | None:
    [piece] = plan.slices
    keys, told = list(request.primary_key), []
    made = source.fingerprint(request, plan, "columns")
    if made is not None:
        read = source.read(context.spark, request, plan, "columns")
        differing = read.where(altered(made)).select(*_named(keys), made.alias("_made"), FINGERPRINT_COLUMN)
        names = [column.name for column in plan.columns]
        for row in _first(differing, keys):
            pairs = zip(names, str(row["_made"]).split(","), str(row[FINGERPRINT_COLUMN]).split(","), strict=True)
            columns = [name for name, ours, theirs in pairs if ours != theirs]
            told.append(f"row {_key(row, keys)} differs in {', '.join(columns)}")
    here = attempt.batch().where(F.col(SLICE_COLUMN) == piece.id).select(*_named(keys))
    there = source.read(context.spark, request, plan).select(*_named(keys))
    twice = here.groupBy(*_named(keys)).count().where("count > 1")
    told += [f"row {_key(row, keys)} came {row['count']} times" for row in _first(twice, keys)]
    if plan.rereads and context.spec(dataset).write_disposition != "replace":
        return "; ".join(told) or None  # Known rows are missing from the batch, too.
    same = [F.col(f"there.{quoted(key)}").eqNullSafe(F.col(f"here.{quoted(key)}")) for key in keys]
    lost = there.alias("there").join(here.alias("here"), same, "left_anti")
    told += [f"row {_key(row, keys)} did not come" for row in _first(lost, keys)]
    return "; ".join(told) or None


def _named(keys: list[str]) -> list[Any]:
    return [F.col(quoted(key)) for key in keys]


def _first(rows: DataFrame, keys: list[str]) -> list[Any]:
    return rows.orderBy(*_named(keys)).limit(MOST).collect()


def _key(row: Any, keys: list[str]) -> str:
    return ", ".join(f"{key}={row[key]}" for key in keys)
