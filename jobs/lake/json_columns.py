"""Which columns of a raw table hold JSON that BigQuery parses: a property of the table, as its schema is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

    from connectors.base import Column

PROPERTY = "lakeferry.json-columns"


def json_columns(raw: Table | None) -> frozenset[str]:
    """The columns of the raw table that BigQuery holds as JSON."""
    return frozenset(json.loads(raw.properties.get(PROPERTY, "[]"))) if raw is not None else frozenset()


def note_json_columns(spark: SparkSession, name: str, columns: Sequence[Column]) -> None:
    """Have the raw table know the parsed ones among these columns. One that has left the source stays JSON."""
    parsed = {column.name for column in columns if column.parsed}
    if not parsed:
        return
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
    known = set(json.loads(properties.get(PROPERTY, "[]")))
    if not parsed <= known:
        text = json.dumps(sorted(known | parsed), ensure_ascii=False).replace("\\", "\\\\").replace("'", "\\'")
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{PROPERTY}' = '{text}')")
