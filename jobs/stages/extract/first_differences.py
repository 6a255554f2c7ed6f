"""Finds the rows and columns of a slice that differ from the source, after a batch has failed."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.base import FINGERPRINT_COLUMN, SLICE_COLUMN, ReadPlan
from jobs.lake.schema import quoted
from jobs.stages.batch.reconciliation import altered
from jobs.stages.extract.source_read import SourceRead

MOST = 3
"""How many rows a message names."""


def first_differences(read: SourceRead, slice_id: int) -> str | None:
    """Describe the first rows of the slice that were altered, lost or doubled, by primary key; no value is shown.

    The slice is read once more. Returns None if no row can be named: without a primary key, with a masked one, or if
    the second read finds no difference.
    """
    keys = list(read.request.primary_key)
    if not keys or read.request.masked_columns.intersection(keys):
        return None
    plan = read.plan.only([slice_id])
    with read.source.connections(plan):
        return _described(read, plan)


def _described(read: SourceRead, plan: ReadPlan) -> str | None:
    [only] = plan.slices
    source, request, spark = read.source, read.request, read.run.spark
    keys, lines = list(request.primary_key), []
    fingerprints = source.fingerprint(request, plan, "columns")
    if fingerprints is not None:
        rows = source.read(spark, request, plan, "columns")
        differing = rows.where(altered(fingerprints)).select(
            *_named(keys), fingerprints.alias("_made"), FINGERPRINT_COLUMN
        )
        names = [column.name for column in plan.columns]
        for row in _first(differing, keys):
            pairs = zip(names, str(row["_made"]).split(","), str(row[FINGERPRINT_COLUMN]).split(","), strict=True)
            columns = [name for name, own, other in pairs if own != other]
            lines.append(f"row {_key(row, keys)} differs in {', '.join(columns)}")
    here = read.attempt.batch().where(F.col(SLICE_COLUMN) == only.id).select(*_named(keys))
    there = source.read(spark, request, plan).select(*_named(keys))
    twice = here.groupBy(*_named(keys)).count().where("count > 1")
    lines += [f"row {_key(row, keys)} came {row['count']} times" for row in _first(twice, keys)]
    if read.compares_with_published:
        return "; ".join(lines) or None  # Known rows are missing from the batch, too.
    same = [F.col(f"there.{quoted(key)}").eqNullSafe(F.col(f"here.{quoted(key)}")) for key in keys]
    lost = there.alias("there").join(here.alias("here"), same, "left_anti")
    lines += [f"row {_key(row, keys)} did not come" for row in _first(lost, keys)]
    return "; ".join(lines) or None


def _named(keys: list[str]) -> list[Any]:
    return [F.col(quoted(key)) for key in keys]


def _first(rows: DataFrame, keys: list[str]) -> list[Any]:
    return rows.orderBy(*_named(keys)).limit(MOST).collect()


def _key(row: Any, keys: list[str]) -> str:
    return ", ".join(f"{key}={row[key]}" for key in keys)
