"""What columns the tables of a dataset have, and of what types: which holds which, which can become which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.base import READ_COLUMNS, REJECTED_COLUMN, REJECTED_TYPE, SLICE_COLUMN, Column
from connectors.versions import BATCH_COLUMN as BATCH_COLUMN
from jobs.lake.names import CATALOG, DATABASE_PREFIX

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.types import IcebergType
    from pyspark.sql import SparkSession

RUN_COLUMN = "_run_id"
ATTEMPT_COLUMN = "attempt"
"""In quarantine: the attempt of the run that set the row aside. Those rows count whose attempt was published."""
GENERATION_COLUMN = "generation"
"""In quarantine: the generation of the run's plan that the attempt worked through."""
DELETED_COLUMN = "_deleted_at"
"""With `deletes: sweep`: NULL in a live row, otherwise the time at which the source was seen to lack it."""

DELETED = Column(
    name=DELETED_COLUMN,
    source_type="lakeferry",
    spark_type="timestamp",
    comment="when the row was found gone at the source; NULL while it is there",
)

_LINEAGE = (
    Column(name=RUN_COLUMN, source_type="lakeferry", spark_type="string", comment="run that moved the row"),
    Column(name=BATCH_COLUMN, source_type="lakeferry", spark_type="bigint", comment="number of the published batch"),
)
_READ = (
    Column(name=SLICE_COLUMN, source_type="lakeferry", spark_type="int", comment="slice the row was read in"),
    Column(
        name=REJECTED_COLUMN,
        source_type="lakeferry",
        spark_type=REJECTED_TYPE,
        comment="why the row goes to quarantine; NULL in every published row",
    ),
)
AS_JSON = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
"""How `to_json` writes what quarantine keeps; by itself it would cut microseconds."""
WITHOUT_NULLS = {**AS_JSON, "ignoreNullFields": "true"}
"""As `AS_JSON`, without the columns that are NULL, so that a column that was added since changes no record."""
QUARANTINE_COLUMNS = (
    Column(name=RUN_COLUMN, source_type="lakeferry", spark_type="string"),
    Column(name=GENERATION_COLUMN, source_type="lakeferry", spark_type="int"),
    Column(name=BATCH_COLUMN, source_type="lakeferry", spark_type="bigint"),
    Column(name=SLICE_COLUMN, source_type="lakeferry", spark_type="int"),
    Column(name="reason", source_type="lakeferry", spark_type="string", comment="what is wrong with the row"),
    Column(
        name="place",
        source_type="lakeferry",
        spark_type="string",
        comment="where the row stands at its source, as JSON",
    ),
    Column(name="record", source_type="lakeferry", spark_type="string", comment="the row as it was read"),
    Column(name="quarantined_at", source_type="lakeferry", spark_type="timestamp"),
    Column(
        name=ATTEMPT_COLUMN,
        source_type="lakeferry",
        spark_type="string",
        comment="attempt that set the row aside; the snapshot that seals a batch names the one that counts",
    ),
)


def table_name(spark: SparkSession, namespace: str, dataset: str) -> str:
    """The name SQL uses, with the database the session's catalog keeps the namespace in."""
    prefix = spark.conf.get(f"spark.sql.catalog.{CATALOG}.{DATABASE_PREFIX}", "")
    return f"{CATALOG}.{prefix}{namespace}.{dataset}"


def quoted(name: str) -> str:
    """Quote a column name for Spark SQL; it may contain any character."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A string literal of Spark SQL ("Literals" in its reference): backslash escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def raw_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    return (*columns, *_LINEAGE, *_READ)


def curated_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    return (*columns, *_LINEAGE)


def widens(old: str, new: str) -> bool:
    """Whether Iceberg can change the type in place (its specification, "Schema Evolution")."""
    if (old, new) in {("int", "bigint"), ("float", "double")}:
        return True
    before, after = _decimal(old), _decimal(new)
    return before is not None and after is not None and before[1] == after[1] and before[0] < after[0]


def holds(lake: str, arriving: str) -> bool:
    """Whether a column of the lake holds every value of the arriving type as it is: a narrowed column needs nothing."""
    if lake == arriving or widens(arriving, lake):
        return True
    wide, narrow = _decimal(lake), _DIGITS.get(arriving) or _decimal(arriving)
    if wide is None or narrow is None:
        return False
    return wide[1] >= narrow[1] and wide[0] - wide[1] >= narrow[0] - narrow[1]


_DIGITS = {"int": (10, 0), "bigint": (19, 0)}


def _decimal(text: str) -> tuple[int, int] | None:
    """Precision and scale."""
    match = re.fullmatch(r"decimal\((\d+),(\d+)\)", text)
    return (int(match[1]), int(match[2])) if match else None


def lake_type(spark_type: str) -> str:
    """The type a column of this Spark type has in the lake: Iceberg has no integers under 32 bits."""
    text = spark_type.replace(" ", "").lower()
    return {"tinyint": "int", "smallint": "int", "integer": "int", "long": "bigint"}.get(text, text)


def spark_word(iceberg_type: IcebergType) -> str:
    """Spark's word for a type of Iceberg's, whose `timestamp` has no zone where Spark's has."""
    text = str(iceberg_type).replace(" ", "")
    return {"long": "bigint", "timestamp": "timestamp_ntz", "timestamptz": "timestamp"}.get(text, text)


def lake_types(schema: Schema) -> dict[str, str]:
    """The columns of a raw table that batches bring, and their types; those lakeferry adds by itself left out."""
    own = (RUN_COLUMN, BATCH_COLUMN, DELETED_COLUMN, *READ_COLUMNS)
    return {field.name: spark_word(field.field_type) for field in schema.fields if field.name not in own}
