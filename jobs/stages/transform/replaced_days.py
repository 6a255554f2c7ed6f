"""The days that a batch of `overwrite_partitions` replaces: how they are named, and that all its rows lie in them.

A batch is replaced day by day, in the lake and in BigQuery, so the partition column holds days. An instant belongs to
different days in different zones, and a transform that is asked for instants would be asked for a part of a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from connectors.base import Column
from connectors.errors import ObjectNotFound, SchemaBroken, SpecError
from jobs.lake.schema import quoted
from jobs.spec.models import DatasetSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check_partition_is_day(dataset: DatasetSpec, columns: Sequence[Column]) -> None:
    """Check that the partition column is a DATE; `columns` are the transform's columns.

    Raises:
        SpecError: it is of another type.
    """
    if dataset.write_disposition != "overwrite_partitions":
        return
    by = dataset.bigquery.partition_by
    spark_type = next((column.spark_type for column in columns if column.name == by), None)
    if spark_type is not None and spark_type != "date":
        raise SpecError(
            f"write_disposition overwrite_partitions replaces days, and partition column {by!r} is {spark_type}",
            key=("bigquery", "partition_by"),
            fix="Partition by a DATE that the transform makes of it, in the zone of your days: "
            f"F.to_date(F.from_utc_timestamp({by!r}, 'Asia/Tokyo')); or write merge or replace",
        )


def asked_days(partitions: DataFrame, column: str, function: str) -> list[str]:
    """Return the days that `NAME_partitions` wants built.

    Args:
        function: its name, for the message.

    Raises:
        ObjectNotFound: the function returns no such column.
        SpecError: it returns something other than days, or ISO dates as text.
        SchemaBroken: it returns NULL, or a year that BigQuery does not have.
    """
    if column not in partitions.columns:
        raise ObjectNotFound(f"{function} returns no column {column!r}", choices=partitions.columns)
    spark_type = partitions.schema[column].dataType.simpleString()
    if spark_type not in ("date", "string"):
        raise SpecError(
            f"{function} gives {column!r} as {spark_type}, and overwrite_partitions replaces days",
            fix=f"Make it return F.to_date({column!r}), in the zone of the transform's days",
        )
    return days_in(partitions, column)


def days_in(rows: DataFrame, column: str) -> list[str]:
    """Return the days of a column as ISO dates; for the errors see `asked_days`."""
    values = [row[0] for row in rows.select(F.col(quoted(column)).cast("string")).distinct().collect()]
    if None in values:
        raise SchemaBroken(
            f"partition column {column} is NULL in some rows", fix="Make the transform give every row its partition"
        )
    if not all(map(_is_day, values)):
        raise SchemaBroken(
            f"partition column {column} is not a day of the years 1 to 9999 in some rows",
            fix="Make the transform leave such rows out, or give them another day",
        )
    return sorted(values)


def check_days(there: Sequence[str], asked: Sequence[str], column: str) -> None:
    """Check that the rows of a batch lie in the days it replaces; `there` are the days of its rows.

    Raises:
        SchemaBroken: some do not. BigQuery, and the lake, would have the rows of such a day twice, or not at all.
    """
    strays = sorted(set(there) - set(asked))
    if strays:
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        raise SchemaBroken(
            f"the transform gives rows of {', '.join(strays[:3])}{more} ({column}), and was not asked for these days",
            fix="Make it return only rows of `partitions`, or make NAME_partitions return these days",
        )


def _is_day(text: str) -> bool:
    try:
        # The other spellings of ISO 8601 (20261120, 2026-W47-5) would be other names of the same day.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
