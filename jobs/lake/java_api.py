"""Iceberg's Java API, through Spark's JVM: it does and answers what SQL cannot express about an Iceberg table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from py4j.java_gateway import JavaClass

from jobs.lake.names import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake.data_files import DataFile


_CATALOGS: WeakKeyDictionary[SparkSession, Any] = WeakKeyDictionary()


def java_class(spark: SparkSession, name: str) -> Any:
    """Return a Java class by its full name, for its static methods. Written as `jvm.org.apache…`, each part of the name
    would be a call to the JVM, which waits for a processor among Spark's threads."""
    gateway: Any = spark.sparkContext._gateway
    return JavaClass(name, gateway._gateway_client)


def java_table(spark: SparkSession, name: str) -> Any:
    """Return the table (`org.apache.iceberg.Table`) as it stands now, from the catalog itself: Spark's parser takes as
    long to read the name as the catalog to find the table.

    Args:
        name: as SQL uses it, catalog first.
    """
    return java_catalog(spark).loadTable(table_identifier(spark, name.removeprefix(f"{CATALOG}.")))


def java_catalog(spark: SparkSession) -> Any:
    """Return the lake's catalog (`org.apache.iceberg.catalog.Catalog`) to which Spark's own tables belong."""
    known = _CATALOGS.get(spark)
    if known is None:
        session: Any = spark._jsparkSession
        # A catalog is created at its first use, with the settings of the session that is active in this thread.
        java_class(spark, "org.apache.spark.sql.classic.SparkSession").setActiveSession(session)
        known = _CATALOGS[spark] = session.sessionState().catalogManager().catalog(CATALOG).icebergCatalog()
    return known


def table_identifier(spark: SparkSession, name: str) -> Any:
    """Parse a table's name (`org.apache.iceberg.catalog.TableIdentifier`), written `namespace.table`."""
    return java_class(spark, "org.apache.iceberg.catalog.TableIdentifier").parse(name)


def members_of(several: Any) -> Iterator[Any]:
    """Yield the members of a Java iterable. A `for` over it would end with an exception, and PySpark calls the JVM some
    fifty times for each: among other things for classes that are in no jar, for which all jars are searched."""
    members = several.iterator()
    while members.hasNext():
        yield members.next()


def commit_with(update: Any, properties: Mapping[str, str]) -> None:
    """Commit an update (`org.apache.iceberg.SnapshotUpdate`) as one snapshot with these properties."""
    for key, value in properties.items():
        update = update.set(key, value)
    update.commit()


def data_files(spark: SparkSession, table: Any, files: Sequence[DataFile]) -> Iterator[Any]:
    """Yield files that were just written as Iceberg's commits take them (`org.apache.iceberg.DataFile`), for a table
    without partitions."""
    parser = java_class(spark, "org.apache.iceberg.ContentFileParser")
    mapper = java_class(spark, "org.apache.iceberg.util.JsonUtil").mapper()
    spec = table.spec()
    number = int(spec.specId())
    for file in files:
        yield parser.fromJson(mapper.readTree(_content_file(file, number)), spec)


def _content_file(file: DataFile, spec_number: int) -> str:
    """Return a file as Iceberg's REST catalog specification describes it (`DataFile`)."""
    assert file.metrics is not None, "only new files are added"
    known = {
        "spec-id": spec_number,
        "content": "DATA",
        "file-path": file.path,
        "file-format": "PARQUET",
        "partition": {},
        "file-size-in-bytes": file.size_bytes,
        "record-count": file.rows,
        "sort-order-id": 0,
    }
    return json.dumps(known | json.loads(file.metrics))


def has_files(spark: SparkSession, name: str, condition: Any) -> bool:
    """Whether any data file of a table may hold rows that meet a condition. The table's metadata answers: no file is
    read and no job is run.

    Args:
        condition: `org.apache.iceberg.expressions.Expression`.
    """
    files = java_table(spark, name).newScan().filter(condition).planFiles()
    try:
        return bool(files.iterator().hasNext())
    finally:
        files.close()
