"""BigQuery, the warehouse: its columns, its tables, its ledger, and the statements that move a batch.

Importing this package imports no client: plan asks `check_warehouse` before anything moves.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Column
from connectors.bigquery.columns import check_table, warehouse_columns


def check_warehouse(table: str, partition_by: str | None, cluster_by: Sequence[str], columns: Sequence[Column]) -> None:
    """See, without a connection, that BigQuery can hold these columns and be laid out as the spec says.

    Args:
        table: `dataset.table`, for the message.
        columns: those of the dataset and its source's identity columns, in the lake's types.

    Raises:
        UnsupportedType: a type or name BigQuery cannot hold.
        ObjectNotFound: `partition_by` or `cluster_by` names a column that is not there; lists those that would do.
        SpecError: one of them names a column whose type does not do.
    """
    parsed = {column.name for column in columns if column.parsed}
    found = warehouse_columns(((column.name, column.spark_type, column.comment) for column in columns), parsed)
    check_table(found, partition_by=partition_by, cluster_by=cluster_by, table=table)
