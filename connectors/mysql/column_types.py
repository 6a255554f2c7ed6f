"""MySQL column types and how each reaches Spark with its value intact.

Dates and times travel as the server's own text: the driver then has no calendar or time zone to
apply, and a zero date arrives as `0000-00-00`, not as NULL. FLOAT travels as DOUBLE, since the text
the server gives for a FLOAT has six digits only. (MySQL manual, chapters Data Types and
Floating-Point Types.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from connectors.errors import UnsupportedType
from connectors.mysql.sql import LiteralKind

SPARK_DECIMAL_DIGITS = 38

Travel = Literal["as is", "as text", "as double", "as integer"]
"""What the SELECT does to the column: nothing, CAST AS CHAR, times 1e0, CAST AS an integer."""


@dataclass(frozen=True)
class ColumnType:
    """How values of one column type are read.

    `transport_type` is the Spark type the JDBC driver is asked for, `spark_type` the one the lake
    gets; `literal_kind` is how a value is written in a range over the column, None where values do
    not sort the way they compare (ENUM) or comparison is not exact (FLOAT).
    """

    spark_type: str
    transport_type: str
    travel: Travel
    literal_kind: LiteralKind | None = None

    def select(self, quoted: str) -> str:
        """The expression that reads the quoted column."""
        match self.travel:
            case "as is":
                return quoted
            case "as text":
                return f"CAST({quoted} AS CHAR)"
            case "as double":
                return f"{quoted} * 1e0"
            case "as integer":
                return f"CAST({quoted} AS UNSIGNED)"


_INTEGERS = {
    "tinyint": ("tinyint", "smallint"),
    "smallint": ("smallint", "int"),
    "mediumint": ("int", "int"),
    "int": ("int", "bigint"),
    "bigint": ("bigint", "decimal(20,0)"),
}
"""Signed and unsigned."""
_TEXT = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")


def column_type(source_type: str) -> ColumnType | None:
    """The mapping of a type as `information_schema.columns.column_type` writes it (`bigint(20) unsigned`).

    Returns None where no mapping keeps the value exact.
    """
    match = re.match(r"([a-z0-9_]+)(?:\(([^)]*)\))?", source_type.lower())
    if not match:
        return None
    word, arguments = match[1], match[2] or ""
    unsigned = "unsigned" in source_type.lower() and word not in ("enum", "set")
    if word in _INTEGERS:
        spark_type = _INTEGERS[word][unsigned]
        return ColumnType(spark_type, spark_type, "as is", "number")
    if word == "decimal":
        precision, _, scale = (arguments or "10,0").partition(",")
        if int(precision) <= SPARK_DECIMAL_DIGITS:
            spark_type = f"decimal({int(precision)},{int(scale or 0)})"
            return ColumnType(spark_type, spark_type, "as is", "number")
        return ColumnType("string", "string", "as text", "number")
    if word in _TEXT:
        return ColumnType("string", "string", "as text", "string")
    if word in _BINARY:
        return ColumnType("binary", "binary", "as is", "binary")
    return _OTHERS.get(word) if word != "bit" else _bit(int(arguments or 1))


def _bit(width: int) -> ColumnType:
    """A bit field is a number of up to 64 bits: kept as one, which BIGINT holds up to 63."""
    spark_type = "bigint" if width < 64 else "decimal(20,0)"
    return ColumnType(spark_type, spark_type, "as integer")


_OTHERS = {
    "float": ColumnType("float", "double", "as double"),
    "double": ColumnType("double", "double", "as double"),
    "date": ColumnType("date", "string", "as text", "date"),
    "datetime": ColumnType("timestamp_ntz", "string", "as text", "datetime"),
    "timestamp": ColumnType("timestamp", "string", "as text", "datetime"),
    "time": ColumnType("string", "string", "as text"),
    "year": ColumnType("int", "int", "as integer"),
    "enum": ColumnType("string", "string", "as text"),
    "set": ColumnType("string", "string", "as text"),
    "json": ColumnType("string", "string", "as text"),
}


def required_column_type(name: str, source_type: str, table: str) -> ColumnType:
    """`column_type`, for a column that must be readable.

    Raises:
        UnsupportedType: names the column and its type.
    """
    found = column_type(source_type)
    if found is None:
        raise UnsupportedType(
            f"column {name!r} of {table} is {source_type}, whose values would not arrive exact",
            fix=f"Read a view of {table} without the column, or with it converted "
            "(geometry: ST_AsText, addresses and UUIDs: CAST AS CHAR)",
        )
    return found
