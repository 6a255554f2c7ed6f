"""Which columns of a raw table are text that BigQuery parses: properties of the table, as its schema is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

    from connectors.base import Column, ParsedType

PROPERTIES: dict[ParsedType, str] = {"JSON": "lakeferry.json-columns", "GEOGRAPHY": "lakeferry.geography-columns"}


def parsed_columns(raw: Table | None) -> dict[str, ParsedType]:
    """The columns of the raw table that BigQuery parses, and what it makes of them."""
    if raw is None:
        return {}
    return {name: parsed for parsed, key in PROPERTIES.items() for name in json.loads(raw.properties.get(key, "[]"))}


def note_parsed_columns(spark: SparkSession, name: str, columns: Sequence[Column]) -> None:
    """Have the raw table know the parsed ones among these columns. One that has left the source stays what it was."""
    if not any(column.parsed for column in columns):
        return
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
    for parsed, key in PROPERTIES.items():
        arriving = {column.name for column in columns if column.parsed == parsed}
        known = set(json.loads(properties.get(key, "[]")))
        if not arriving <= known:
            text = json.dumps(sorted(known | arriving), ensure_ascii=False).replace("\\", "\\\\").replace("'", "\\'")
            spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{key}' = '{text}')")
