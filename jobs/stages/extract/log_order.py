"""Checks that the messages of one key in a batch have an order, even if they are in several partitions of a log.

Within a partition the offset orders them. Between two partitions only the timestamps do. If these are equal, nothing
says which message is newer.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from connectors.errors import DuplicateKey
from connectors.versions import LogColumns
from jobs.lake.schema import quoted


def check_timestamps_differ(rows: DataFrame, keys: Sequence[str], log: LogColumns) -> None:
    """Check that the newest message of every key is certain.

    Cost: one aggregation of the batch by key, and a second one of the keys that are in several partitions.

    Args:
        rows: the batch as raw holds it.
        keys: the primary key.

    Raises:
        DuplicateKey: the latest messages of a key are in several partitions, have equal timestamps, and differ.
    """
    by_key = [F.col(quoted(key)) for key in keys]
    partition, offset, timestamp = (F.col(quoted(name)) for name in (log.partition, log.offset, log.timestamp))
    apart = rows.groupBy(*by_key).agg(F.min(partition).alias("_first"), F.max(partition).alias("_last"))
    apart = apart.where(F.col("_first") < F.col("_last")).select(*by_key)
    values = [F.col(quoted(name)) for name in rows.columns if not name.startswith("_")]
    newest_per_partition = (
        rows.join(apart, list(keys), "left_semi")
        .groupBy(*by_key, partition)
        .agg(
            F.max(timestamp).alias("_latest"),
            F.max_by(F.struct(*values), offset).alias("_values"),
            F.struct(partition, F.max(offset)).alias("_place"),
        )
    )
    at_once = newest_per_partition.groupBy(*by_key, "_latest").agg(
        F.struct(
            F.count_distinct("_values").alias("states"), F.min("_place").alias("one"), F.max("_place").alias("other")
        ).alias("_met")
    )
    newest = at_once.groupBy(*by_key).agg(F.max_by("_met", "_latest").alias("_met"))
    counted = newest.where(F.col("_met.states") > 1).agg(
        F.count("*"), F.min("_met.one"), F.min_by("_met.other", "_met.one")
    )
    total = counted.first()
    if total is not None and total[0]:
        uncertain, one, other = total
        raise DuplicateKey(
            f"{uncertain} values of primary_key ({', '.join(keys)}) have different messages in several partitions at "
            f"the same time (offset {one[1]} of partition {one[0]} and offset {other[1]} of partition {other[0]} are "
            "two of them): which is the newer is not certain",
            fix="Produce all messages of a key to one partition (the key decides it); to let the higher partition win "
            "where timestamps are equal, write `equal_timestamps: accept`",
        )
