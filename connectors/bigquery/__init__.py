"""BigQuery, the warehouse: its columns, its tables, its ledger, and the statements that move a batch.

Importing this package imports no client: plan asks `check_warehouse` before anything moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.base import Column
from connectors.bigquery.columns import HOUR_TYPES, PARTITION_TYPES, check_table, warehouse_columns


def check_warehouse(
    table: str,
    partition_by: str | None,
    cluster_by: Sequence[str],
    columns: Sequence[Column],
    *,
    granularity: str = "DAY",
    integers: bool = False,
    tagged: Iterable[str] = (),
) -> None:
    """See, without a connection, that BigQuery can hold these columns and be laid out as the spec says.

    Args:
        table: `dataset.table`, for the message.
        granularity: that of partitions by time; `integers`: the partitions are of an INT64 column.
        tagged: columns with policy tags.
        columns: those of the dataset and its source's identity columns, in the lake's types.

    Raises:
        UnsupportedType: a type or name BigQuery cannot hold.
        ObjectNotFound: one of the names in `partition_by`, `cluster_by`, `tagged` is no column; lists those that
            would do.
        SpecError: one of them names a column whose type does not do.
    """
    parsed = {column.name: column.parsed for column in columns if column.parsed}
    types = warehouse_columns(((column.name, column.spark_type, column.comment) for column in columns), parsed)
    check_table(
        types,
        partition_by=partition_by,
        cluster_by=cluster_by,
        table=table,
        partition_types=partition_types(granularity, integers),
        tagged=tagged,
    )


def partition_types(granularity: str, integers: bool) -> Sequence[str]:
    """Types a partition column may have ("Introduction to partitioned tables" in BigQuery's documentation)."""
    return ("INT64",) if integers else HOUR_TYPES if granularity == "HOUR" else PARTITION_TYPES
