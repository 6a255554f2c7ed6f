"""Rows as they land: judged by the row rules as they were read, then masked, then appended.

What is masked is masked everywhere: of a dataset with masks an undecodable row keeps its place and
reason, not its record, for what cannot be taken apart cannot be masked; a row that breaks a rule keeps
its record, masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, Column
from jobs.hashing import hashed_array
from jobs.lake.schema import quoted
from jobs.masks import Masking, lake_columns_after

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

NO_MASKS = Masking(mask={})

_BROKEN = "_broken"
_FULL_WIDTH_DIGITS = "０１２３４５６７８９"
_BETWEEN_DIGITS = r"[\s\u00A0\u3000\u002D\u2010-\u2015\u2212\u30FC\uFF0D]"
_CARD_NUMBER = "^[0-9]{12,19}$"


def as_landed(
    rows: DataFrame, columns: Sequence[Column], rejection: SparkColumn | None, masking: Masking = NO_MASKS
) -> DataFrame:
    """The lake's columns, `_slice` and `_rejected`, complete with reason and record.

    Args:
        rows: `columns`, `_slice` and `_rejected` as the source gave them.
        columns: the dataset's columns as read, identity columns last.
        rejection: NULL for a good row, else why not; it sees the values before they are masked.
    """
    judged = rows.withColumn(_BROKEN, rejection if rejection is not None else F.lit(None).cast("string"))
    masked = judged.select(
        *[_masked(column, masking).alias(column.name) for column in columns if masking.mask.get(column.name) != "drop"],
        SLICE_COLUMN,
        REJECTED_COLUMN,
        _BROKEN,
    )
    undecodable = F.col(f"{REJECTED_COLUMN}.reason")
    reason = F.coalesce(undecodable, F.col(_BROKEN))
    named = [F.col(quoted(column.name)) for column in lake_columns_after(masking.mask, columns)]
    record = F.to_json(F.struct(*named))
    if masking.mask:
        record = F.when(undecodable.isNull(), record)
    else:
        record = F.coalesce(F.col(f"{REJECTED_COLUMN}.record"), record)
    rejected = F.when(reason.isNotNull(), F.struct(reason.alias("reason"), record.alias("record")))
    return masked.withColumn(REJECTED_COLUMN, rejected).drop(_BROKEN)


def last_four(value: SparkColumn) -> SparkColumn:
    """The last four digits of a card number; NULL for anything else, of which four digits could be much.

    A card number is 12 to 19 digits (ISO/IEC 7812 allows up to 19; the shortest in use have 12), full-width ones
    too, with nothing but blanks and hyphens between them: of a longer text with other things in it the last
    digits might be the security code.
    """
    plain = F.translate(value.cast("string"), _FULL_WIDTH_DIGITS, "0123456789")
    digits = F.regexp_replace(plain, _BETWEEN_DIGITS, "")
    return F.when(digits.rlike(_CARD_NUMBER), F.right(digits, F.lit(4)))


def _masked(column: Column, masking: Masking) -> SparkColumn:
    value = F.col(quoted(column.name))
    match masking.mask.get(column.name):
        case "null":
            return F.lit(None).cast(column.spark_type)
        case "truncate":
            return last_four(value)
        case "hmac":
            assert masking.key is not None, "planned with a key"
            hashed: SparkColumn = _hasher(masking.key, column.name in masking.exact)(value)
            return hashed
        case _:
            return value


def _hasher(key: bytes, exact: bool) -> Any:
    # The key travels inside the function: a literal would stand in query plans and the event log.
    import pyarrow as pa

    def keyed_hash(values: pa.Array) -> pa.Array:
        return hashed_array(values, key, exact=exact)

    # Spark tells by the types what kind of function it is, and does not find names imported in here.
    keyed_hash.__annotations__ = {"values": pa.Array, "return": pa.Array}
    typed: Any = arrow_udf
    return typed(keyed_hash, "string")
