"""The fingerprint of rows as they stand in the lake: the exact sum of a 64-bit hash of each whole row.

It is computed from the rows on their way into a file, and again from what the files hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.lake.schema import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql.types import StructType

_FLAGS = 62
"""How many columns' NULLs one whole number can record."""


def sum_of_hashes(names: Sequence[str], schema: StructType, where: SparkColumn) -> SparkColumn:
    """Return an aggregate: the sum over the rows for which `where` is true; NULL without such rows.

    Args:
        names: the columns that make the row.
        schema: the table's; values are hashed as they will stand in it (an INT in a BIGINT column).
    """
    from pyspark.sql import functions as F

    # DECIMAL(20) holds any 64-bit number; its sum is exact for 10^18 rows.
    return F.sum(F.when(where, row_hash(names, schema).cast("decimal(20,0)")))


def row_hash(names: Sequence[str], schema: StructType) -> SparkColumn:
    """Return a BIGINT: XXH64 of the row's values and of which of them are NULL."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import MapType

    values = []
    for name in names:
        kind = schema[name].dataType
        value = F.col(quoted(name)).cast(kind)
        values.append(F.to_json(value) if isinstance(kind, MapType) else value)
    # Spark's hash skips a NULL, so a value that changed places with one would go unseen.
    flags = []
    for start in range(0, len(names), _FLAGS):
        flag = F.lit(0).cast("bigint")
        for bit, name in enumerate(names[start : start + _FLAGS]):
            flag = flag + F.when(F.col(quoted(name)).isNull(), F.lit(2**bit).cast("bigint")).otherwise(F.lit(0))
        flags.append(flag)
    return F.xxhash64(*values, *flags)
