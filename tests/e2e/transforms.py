"""The shipped transform over inputs of other names: tests give every dataset a name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import merchant_sales
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def daily(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    return merchant_sales.daily(_plain(inputs), partitions)


def daily_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    return merchant_sales.daily_partitions(_plain(changes), _plain(inputs))


def mirrored(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """Its only input as it is."""
    [only] = inputs.values()
    return only.select(*[name for name in only.columns if not name.startswith("_")])


def by_day(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """Returns its only input with the day each row was made on, for any days that are asked for."""
    return mirrored(inputs, partitions).withColumn("made_on", F.to_date("created_at"))


def by_day_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    [only] = changes.values()
    return only.select(F.to_date("created_at").alias("made_on"))


def by_updated_day(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """Its only input with the day each row was changed on; all days."""
    return mirrored(inputs, partitions).withColumn("updated_on", F.to_date("updated_at"))


def by_moment(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    return by_day(inputs, partitions)


def by_moment_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    [only] = changes.values()
    return only.select(F.col("created_at").alias("made_on"))


def all_days(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """All days: nothing says which of them changed."""
    return by_day(inputs, partitions)


def _plain(frames: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    return {name.split("_e2e_")[0]: frame for name, frame in frames.items()}


def broken(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """A function with a bug that Spark's workers meet."""
    days = by_day(inputs, partitions)
    return days.withColumn("currency", F.udf(lambda currency: {"EUR": "€"}[currency])("currency"))
