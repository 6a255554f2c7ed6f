"""Creates a dataset's tables, and adapts them to its source.

Schema changes apply to the whole table in Iceberg, on every branch. So columns are only added, as nullable ones, or
widened, and they stay, empty, after a failed check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.sql.types import StructType

from connectors.base import READ_COLUMNS, Column
from connectors.errors import SchemaBroken
from jobs.lake.bigquery_types import note_parsed_columns
from jobs.lake.java_api import java_catalog, java_class, java_table, table_identifier
from jobs.lake.names import CATALOG, CURATED, QUARANTINE, RAW
from jobs.lake.schema import (
    BATCH_COLUMN,
    QUARANTINE_COLUMNS,
    RUN_COLUMN,
    curated_columns,
    holds,
    lake_type,
    quoted,
    raw_columns,
    spark_word,
    table_name,
    widens,
)
from jobs.runtime.events import event

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

_SCHEMAS = "org.apache.iceberg.spark.SparkSchemaUtil"
_TYPES = "org.apache.spark.sql.types.DataType"
_BRANCHED = (RAW, CURATED)
_NEEDED_PROPERTIES = {
    "write.format.default": "parquet",
    "write.delete.mode": "copy-on-write",
    "write.update.mode": "copy-on-write",
    "write.merge.mode": "copy-on-write",
    "write.wap.enabled": "false",
}
"""The properties on which Lakeferry's reading and counting of files relies, if somebody has set another value: these
are Iceberg's defaults (Iceberg's documentation, "Write properties")."""
_FANOUT = "write.spark.fanout.enabled"
_KINDS: dict[str, Any] = {}
"""Types as Spark writes them into a schema, by their words: its parser is asked once for each."""


def ensure_tables(
    spark: SparkSession,
    dataset: str,
    columns: Sequence[Column],
    partition_by: str | None,
    check_tables_unaltered: Callable[[], None] = lambda: None,
) -> None:
    """Create or evolve `raw`, `curated` and `quarantine` of a dataset; the plan has created their namespaces.

    Args:
        columns: the dataset's columns and its source's identity columns.
        partition_by: column of the curated table's partitions; a day each for timestamps, none for numbers.
        check_tables_unaltered: called before a column is added. One that somebody renamed since the plan would get a
            twin, and could not be named back.

    Raises:
        SchemaBroken: a column changed to a type the old one cannot be widened to.
    """
    make = partial(_ensure, spark, dataset, check_tables_unaltered)
    make(RAW, raw_columns(columns))
    note_parsed_columns(spark, table_name(spark, RAW, dataset), columns)
    make(CURATED, curated_columns(columns), _days(columns, partition_by))
    make(QUARANTINE, QUARANTINE_COLUMNS, RUN_COLUMN)


def ensure_curated(spark: SparkSession, dataset: str, raw: Table, partition_by: str | None) -> None:
    """Create the curated table of a dataset, with the columns of its raw table; see `ensure_tables`."""
    columns = [
        Column(name=field.name, source_type="lake", spark_type=spark_word(field.field_type), comment=field.doc)
        for field in raw.schema().fields
        if field.name not in (RUN_COLUMN, BATCH_COLUMN, *READ_COLUMNS)
    ]
    _ensure(spark, dataset, lambda: None, CURATED, curated_columns(columns), _days(columns, partition_by))


def ensure_quarantine(spark: SparkSession, dataset: str) -> None:
    """Create the quarantine table of a dataset, or evolve that of an older version."""
    _ensure(spark, dataset, lambda: None, QUARANTINE, QUARANTINE_COLUMNS, RUN_COLUMN)


def _days(columns: Sequence[Column], partition_by: str | None) -> str | None:
    """Return the partition column if it holds days or instants."""
    days = {column.name for column in columns if column.spark_type.startswith(("date", "timestamp"))}
    return partition_by if partition_by in days else None


def _ensure(
    spark: SparkSession,
    dataset: str,
    check_tables_unaltered: Callable[[], None],
    namespace: str,
    columns: Sequence[Column],
    partition_by: str | None = None,
) -> None:
    catalog = java_catalog(spark)
    name = table_name(spark, namespace, dataset)
    identifier = table_identifier(spark, name.removeprefix(f"{CATALOG}."))
    if not catalog.tableExists(identifier) and _create(spark, catalog, identifier, namespace, columns, partition_by):
        return
    table = catalog.loadTable(identifier)
    if namespace in _BRANCHED and table.currentSnapshot() is None:
        # A table of an older version; see `_create`.
        table.newAppend().commit()
    restore_properties(table, name, "extract")
    fields = json.loads(java_class(spark, _SCHEMAS).convert(table.schema()).json())
    current = {field.name: field.dataType.simpleString() for field in StructType.fromJson(fields)}
    if any(column.name not in current for column in columns):
        check_tables_unaltered()
    _evolve(spark, name, dataset, current, columns)


def restore_properties(table: Any, name: str, stage: str) -> None:
    """Restore properties that somebody changed, before rows are written.

    Args:
        table: as it was just loaded (`org.apache.iceberg.Table`).
        name: its name, for the warning.
        stage: the stage that is about to write, for the warning.
    """
    # They come as one text: each entry would take a call to the JVM.
    entries = str(table.properties().toString()).strip("{}").split(", ")
    others = [
        (key, value)
        for key, value in _NEEDED_PROPERTIES.items()
        if any(entry.startswith(f"{key}=") for entry in entries) and f"{key}={value}" not in entries
    ]
    if not others:
        return
    change = table.updateProperties()
    for key, value in others:
        change = change.set(key, value)
    change.commit()
    event("warning", stage=stage, dataset=name, warning=f"properties were set back: {', '.join(dict(others))}")


def disable_fanout(spark: SparkSession, name: str, table: Table) -> None:
    """Let tasks that write into a table with partitions hold one file open, not one per partition. Only a table that an
    older version created needs this; if the property is set already, nothing is done."""
    if not table.spec().is_unpartitioned() and table.properties.get(_FANOUT) != "false":
        java_table(spark, name).updateProperties().set(_FANOUT, "false").commit()


def _create(
    spark: SparkSession,
    catalog: Any,
    identifier: Any,
    namespace: str,
    columns: Sequence[Column],
    partition_by: str | None,
) -> bool:
    """Create a table, in one commit; False if somebody else has created it meanwhile. Iceberg's API does this: Spark
    spends more time on a CREATE TABLE than on all that the table needs."""
    fields = json.dumps({"type": "struct", "fields": [_field(spark, column) for column in columns]})
    schema = java_class(spark, _SCHEMAS).convert(java_class(spark, _TYPES).fromJson(fields))
    partitions = java_class(spark, "org.apache.iceberg.PartitionSpec").builderFor(schema)
    kind = next((column.spark_type for column in columns if column.name == partition_by), "")
    if kind.startswith("timestamp"):
        partitions = partitions.day(partition_by)
    elif kind:
        partitions = partitions.identity(partition_by)
    try:
        making = catalog.buildTable(identifier, schema).withPartitionSpec(partitions.build()).createTransaction()
        if namespace in _BRANCHED:
            # A branch can only begin at a snapshot.
            making.newAppend().commit()
        making.commitTransaction()
    except Py4JJavaError as error:
        if error.java_exception.getClass().getSimpleName() != "AlreadyExistsException":
            raise
        return False
    return True


def _field(spark: SparkSession, column: Column) -> dict[str, Any]:
    """Return a column as Spark writes a field of a schema."""
    words = lake_type(column.spark_type)
    kind = _KINDS.get(words)
    if kind is None:
        kind = _KINDS[words] = json.loads(java_class(spark, _TYPES).fromDDL(words).json())
    comment = {"comment": column.comment} if column.comment else {}
    return {"name": column.name, "type": kind, "nullable": True, "metadata": comment}


def _evolve(spark: SparkSession, name: str, dataset: str, current: dict[str, str], columns: Sequence[Column]) -> None:
    for column in columns:
        old = current.get(column.name)
        if old is None:
            spark.sql(f"ALTER TABLE {name} ADD COLUMN {_definition(column)}")
        elif not holds(old, lake_type(column.spark_type)):
            if not widens(old, lake_type(column.spark_type)):
                raise SchemaBroken(
                    f"column {column.name!r} is {old} in the lake and {column.spark_type} ({column.source_type}) "
                    "at the source",
                    dataset=dataset,
                    fix="Load it under a new dataset name, or change the column back",
                )
            spark.sql(f"ALTER TABLE {name} ALTER COLUMN {quoted(column.name)} TYPE {column.spark_type}")


def _definition(column: Column) -> str:
    comment = ""
    if column.comment:
        text = column.comment.replace("\\", "\\\\").replace("'", "\\'")
        comment = f" COMMENT '{text}'"
    return f"{quoted(column.name)} {lake_type(column.spark_type)}{comment}"
