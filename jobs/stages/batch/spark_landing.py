"""Rows as they land: judged by the row rules as they were read, then masked, then appended.

A masked value is masked everywhere. If a dataset has masks, quarantine keeps the place and the reason of an undecodable
row but not its record, because a record that cannot be decoded cannot be masked. It keeps the masked record of a row
that breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from jobs.lake.schema import AS_JSON, quoted
from jobs.masking.card_numbers import last_four_array
from jobs.masking.keyed_hash import hashed_array
from jobs.masking.masks import Masking, lake_columns_after
from jobs.stages.batch.warehouse_limits import limit_rejection

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

NO_MASKS = Masking(mask={})

_BROKEN = "_broken"


def as_landed(
    rows: DataFrame,
    columns: Sequence[Column],
    rejection: SparkColumn | None,
    masking: Masking = NO_MASKS,
    primary_key: Sequence[str] = (),
) -> DataFrame:
    """Return the lake's columns, `_slice` and `_rejected`, complete with reason and record.

    Args:
        rows: `columns`, `_slice` and `_rejected` as the source returned them.
        columns: the dataset's columns as read, identity columns last.
        rejection: NULL for a good row, else the reason; evaluated before the values are masked.
        primary_key: columns without which a row is rejected.
    """
    judged = rows.withColumn(_BROKEN, rejection if rejection is not None else F.lit(None).cast("string"))
    kept = [column for column in columns if masking.mask.get(column.name) != "drop"]
    values = [_masked(column, masking).alias(column.name) for column in kept]
    masked = judged.select(*values, SLICE_COLUMN, REJECTED_COLUMN, _BROKEN)
    lake_columns = lake_columns_after(masking.mask, columns)
    refused = limit_rejection(lake_columns, primary_key)
    reason = F.col(_BROKEN) if refused is None else F.coalesce(F.col(_BROKEN), refused)
    return marked(masked, lake_columns, reason, masked=bool(masking.mask)).drop(_BROKEN)


def marked(rows: DataFrame, columns: Sequence[Column], rejection: SparkColumn, *, masked: bool) -> DataFrame:
    """Return rows as the lake has them. `_rejected` gets the reason of an undecodable row, else `rejection`.

    Args:
        columns: the columns that a record shows, as the lake has them.
        masked: whether columns of the dataset are masked.
    """
    undecodable = F.col(f"{REJECTED_COLUMN}.reason")
    reason = F.coalesce(undecodable, rejection)
    options = {**AS_JSON, "ignoreNullFields": "false"}
    whole = F.to_json(F.struct(*[F.col(quoted(column.name)) for column in columns]), options)
    record = F.when(undecodable.isNull(), whole) if masked else F.coalesce(F.col(f"{REJECTED_COLUMN}.record"), whole)
    rejected = F.when(reason.isNotNull(), F.struct(reason.alias("reason"), record.alias("record")))
    return rows.withColumn(REJECTED_COLUMN, rejected)


def _masked(column: Column, masking: Masking) -> SparkColumn:
    value = F.col(quoted(column.name))
    match masking.mask.get(column.name):
        case "null":
            return F.lit(None).cast(column.spark_type)
        case "truncate":
            shortened: SparkColumn = as_udf("last_four", last_four_array)(value)
            return shortened
        case "hmac":
            assert masking.key is not None, "planned with a key"
            hashed: SparkColumn = _hasher(masking.key, column.name in masking.exact)(value)
            return hashed
        case _:
            return value


def _hasher(key: bytes, exact: bool) -> Any:
    # The function carries the key: a literal would appear in query plans and in the event log.
    return as_udf("keyed_hash", lambda values: hashed_array(values, key, exact=exact))


def as_udf(name: str, function: Callable[[pa.Array], pa.Array]) -> Any:
    """Wrap an Arrow function of one column as a Spark function that returns text; plans show it by `name`."""
    import pyarrow as pa

    def text_of(values: pa.Array) -> pa.Array:
        return function(values)

    text_of.__name__ = name
    # Spark derives the kind of the function from the types, and does not resolve names imported in this function.
    text_of.__annotations__ = {"values": pa.Array, "return": pa.Array}
    typed: Any = arrow_udf
    return typed(text_of, "string")
