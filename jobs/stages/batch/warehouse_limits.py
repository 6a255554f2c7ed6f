"""Finds rows that BigQuery refuses regardless of their meaning, and sets them aside before they fail every load.

A row without a value in its key cannot be identified, and a load that finds one stops. DATE, DATETIME and TIMESTAMP
cover the years 1 to 9999, TIMESTAMP in UTC ("Data types" in the GoogleSQL reference); Spark's and Iceberg's go further.
A row has at most 100 MB ("Quotas and limits" of BigQuery, maximum row size), taken as 10^8 bytes. This limit is
approximate, because BigQuery applies it to its own form of the row.

Rows are judged as the lake has them, masks applied. Spark's expression returns the reason. Where rows are copied as
columns, Arrow only counts, so that Spark evaluates only the few batches that have such a row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from connectors.base import REJECTED_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn

    from connectors.base import Column

MOST_ROW_BYTES = 100_000_000
_TOO_LONG = "BigQuery cannot hold the row: it has more than 100 MB"
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31 in days from 1970-01-01."""
_DAY_MICROSECONDS = 86_400_000_000


def limit_rejection(columns: Sequence[Column], primary_key: Collection[str]) -> SparkColumn | None:
    """Return NULL for a row that BigQuery takes, else the reason, which shows no value; None if any row fits.

    Args:
        columns: the dataset's columns in the lake.
        primary_key: names among them.
    """
    from pyspark.sql import functions as F

    from jobs.lake.schema import quoted

    reasons = [
        F.when(F.col(quoted(column.name)).isNull(), F.lit(f"{column.name} is NULL, and primary_key names it"))
        for column in columns
        if column.name in primary_key
    ]
    for column in columns:
        if column.spark_type not in ("date", "timestamp", "timestamp_ntz"):
            continue
        value = F.col(quoted(column.name))
        first, after = _edges(column.spark_type)
        reason = f"BigQuery cannot hold {column.name}: its year is outside 1 to 9999 in UTC"
        reasons.append(F.when((value < first) | (value > after), F.lit(reason)))
    texts = [column.name for column in columns if column.spark_type in ("string", "binary")]
    if texts:
        lengths = [F.coalesce(F.octet_length(F.col(quoted(name))).cast("bigint"), F.lit(0)) for name in texts]
        reasons.append(F.when(reduce(add, lengths) > MOST_ROW_BYTES, F.lit(_TOO_LONG)))
    return F.coalesce(*reasons) if reasons else None


def _edges(kind: str) -> tuple[SparkColumn, SparkColumn]:
    """Return the first and the last value that BigQuery has of a type."""
    from pyspark.sql import functions as F

    match kind:
        case "date":
            words = ("0001-01-01", "9999-12-31")
        case "timestamp":
            words = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
        case _:
            words = ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999")
    first, last = (F.lit(word).cast(kind) for word in words)
    return first, last


def count_unfit(rows: pa.RecordBatch, primary_key: Collection[str]) -> int:
    """Count the rows for which `limit_rejection` gives a reason. Rows that are rejected already do not count.

    Args:
        rows: rows as the lake has them, `_rejected` among the columns.
    """
    import pyarrow.compute as pc

    unfit = [flags for flags in (_unfit(rows, name, primary_key) for name in rows.schema.names) if flags is not None]
    # A batch is seldom that long; only then is each row measured.
    if rows.nbytes > MOST_ROW_BYTES:
        unfit.append(pc.greater(_text_bytes(rows), MOST_ROW_BYTES))
    if not unfit:
        return 0
    undecided = pc.is_null(rows.column(REJECTED_COLUMN))
    return pc.sum(pc.and_(reduce(pc.or_, unfit), undecided)).as_py() or 0


def _unfit(rows: pa.RecordBatch, name: str, primary_key: Collection[str]) -> pa.Array | None:
    """Return a mask of the values of a column that BigQuery refuses; None if it takes all of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.column(name)
    if name in primary_key and values.null_count:
        return pc.is_null(values)
    if pa.types.is_date32(values.type):
        numbers, first, last = values.view(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif pa.types.is_timestamp(values.type) and values.type.unit == "us":
        numbers = values.view(pa.int64())
        first, last = _FIRST_DAY * _DAY_MICROSECONDS, (_LAST_DAY + 1) * _DAY_MICROSECONDS - 1
    else:
        return None
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is None or (ends["min"] >= first and ends["max"] <= last):
        return None
    return pc.fill_null(pc.or_(pc.less(numbers, first), pc.greater(numbers, last)), False)


def _text_bytes(rows: pa.RecordBatch) -> pa.Array:
    """Return the bytes of each row's texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    total = pa.array(np.zeros(rows.num_rows, dtype=np.int64))
    for column in rows.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            total = pc.add(total, pc.fill_null(pc.binary_length(column), 0).cast(pa.int64()))
    return total
