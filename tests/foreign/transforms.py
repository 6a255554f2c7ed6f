"""The transform of these tests' derived dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def daily(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """One row a day: how many sales it has and what they come to."""
    from pyspark.sql import functions as F

    [sales] = inputs.values()
    if partitions is not None:
        sales = sales.join(partitions.select("sold_on").distinct(), "sold_on", "left_semi")
    return sales.groupBy("sold_on").agg(
        F.count(F.lit(1)).alias("sales"), F.sum("amount").cast("decimal(28,2)").alias("total")
    )


def daily_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    """The days that changed sales are or were on."""
    [sales] = changes.values()
    return sales.select("sold_on").distinct()
