"""What columns the tables of a dataset have, and how a table follows its source.

Schema changes are table-wide in Iceberg, whatever the branch: so columns are only added, nullable, or
widened, and stay, empty, after a failed check.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.base import REJECTED_COLUMN, REJECTED_TYPE, SLICE_COLUMN, Column
from connectors.errors import SchemaBroken
from jobs.lake.catalog import CATALOG, CURATED, QUARANTINE, RAW

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN_COLUMN = "_run_id"
BATCH_COLUMN = "_batch"
DELETED_COLUMN = "_deleted_at"
"""Of a dataset with `deletes: sweep`: NULL in a live row, else when the source was found to lack it."""

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
_QUARANTINE = (
    Column(name=RUN_COLUMN, source_type="lakeferry", spark_type="string"),
    Column(name="generation", source_type="lakeferry", spark_type="int"),
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
)


def table_name(namespace: str, dataset: str) -> str:
    """The name SQL uses."""
    return f"{CATALOG}.{namespace}.{dataset}"


def quoted(name: str) -> str:
    """A column name for Spark SQL, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def raw_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    return (*columns, *_LINEAGE, *_READ)


def curated_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    return (*columns, *_LINEAGE)


def ensure_tables(spark: SparkSession, dataset: str, columns: Sequence[Column], partition_by: str | None) -> None:
    """Make or evolve `raw`, `curated` and `quarantine` of a dataset; their namespaces are there since the plan.

    Args:
        columns: the dataset's columns and its source's identity columns.
        partition_by: column of the curated table's partitions; a day each for timestamps.

    Raises:
        SchemaBroken: a column changed to a type the old one cannot be widened to.
    """
    partition = next((column for column in columns if column.name == partition_by), None)
    by = ""
    if partition is not None:
        by = quoted(partition.name) if partition.spark_type == "date" else f"days({quoted(partition.name)})"
    _ensure(spark, RAW, dataset, raw_columns(columns), "")
    _ensure(spark, CURATED, dataset, curated_columns(columns), by)
    _ensure(spark, QUARANTINE, dataset, _QUARANTINE, quoted(RUN_COLUMN))


def _ensure(spark: SparkSession, namespace: str, dataset: str, columns: Sequence[Column], partition_by: str) -> None:
    name = table_name(namespace, dataset)
    partitioned = f" PARTITIONED BY ({partition_by})" if partition_by else ""
    if not spark.catalog.tableExists(name):
        spark.sql(
            f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(_definition(column) for column in columns)}) USING iceberg"
            f"{partitioned} TBLPROPERTIES ('format-version'='2', 'write.distribution-mode'='none',"
            " 'write.metadata.delete-after-commit.enabled'='true', 'write.metadata.previous-versions-max'='50')"
        )
    table = spark.table(name)
    if namespace == RAW and spark.sql(f"SELECT 1 FROM {name}.snapshots LIMIT 1").isEmpty():
        # A branch can only begin at a snapshot.
        table.limit(0).writeTo(name).append()
    _evolve(spark, name, dataset, {field.name: field.dataType.simpleString() for field in table.schema}, columns)


def _evolve(spark: SparkSession, name: str, dataset: str, current: dict[str, str], columns: Sequence[Column]) -> None:
    for column in columns:
        old = current.get(column.name)
        if old is None:
            spark.sql(f"ALTER TABLE {name} ADD COLUMN {_definition(column)}")
        elif old != _normal(column.spark_type):
            if not widens(old, _normal(column.spark_type)):
                if widens(_normal(column.spark_type), old):
                    continue  # The lake's column is the wider one already: every value still fits.
                raise SchemaBroken(
                    f"column {column.name!r} is {old} in the lake and {column.spark_type} ({column.source_type}) "
                    "at the source",
                    dataset=dataset,
                    fix="Load it under a new dataset name, or change the column back",
                )
            spark.sql(f"ALTER TABLE {name} ALTER COLUMN {quoted(column.name)} TYPE {column.spark_type}")


def widens(old: str, new: str) -> bool:
    """Whether Iceberg can change the type in place (its specification, "Schema Evolution")."""
    if (old, new) in {("int", "bigint"), ("float", "double")}:
        return True
    before, after = (re.fullmatch(r"decimal\((\d+),(\d+)\)", text) for text in (old, new))
    if before and after:
        return before[2] == after[2] and int(before[1]) < int(after[1])
    return False


def _normal(spark_type: str) -> str:
    # Iceberg has no integers under 32 bits.
    text = spark_type.replace(" ", "").lower()
    return {"tinyint": "int", "smallint": "int", "integer": "int", "long": "bigint"}.get(text, text)


def _definition(column: Column) -> str:
    comment = ""
    if column.comment:
        text = column.comment.replace("\\", "\\\\").replace("'", "\\'")
        comment = f" COMMENT '{text}'"
    return f"{quoted(column.name)} {_normal(column.spark_type)}{comment}"
