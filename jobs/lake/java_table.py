"""What SQL cannot say or ask of an Iceberg table goes to Iceberg's Java API, through Spark's JVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass

from jobs.lake.names import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake.arrow_files import DataFile


def java_class(spark: SparkSession, name: str) -> Any:
    """A Java class by its full name, for its static methods. Written as `jvm.org.apache…` each part of the name would
    be a question to the JVM, which waits for a processor among Spark's threads."""
    gateway: Any = spark.sparkContext._gateway
    return JavaClass(name, gateway._gateway_client)


def java_table(spark: SparkSession, name: str) -> Any:
    """The table (`org.apache.iceberg.Table`) as it stands now.

    Args:
        name: as SQL uses it, catalog first.
    """
    return java_class(spark, "org.apache.iceberg.spark.Spark3Util").loadIcebergTable(spark._jsparkSession, name)


def java_catalog(spark: SparkSession) -> Any:
    """The lake's catalog (`org.apache.iceberg.catalog.Catalog`) that Spark's own tables are of."""
    session: Any = spark._jsparkSession
    # A catalog is made at its first use, of the settings of the session that is active in this thread.
    java_class(spark, "org.apache.spark.sql.classic.SparkSession").setActiveSession(session)
    return session.sessionState().catalogManager().catalog(CATALOG).icebergCatalog()


def data_files(spark: SparkSession, table: Any, files: Sequence[DataFile]) -> Iterator[Any]:
    """Data files as Iceberg's commits take them (`org.apache.iceberg.DataFile`), of a table without partitions; their
    footers are read for what Iceberg keeps of each."""
    parquet, entries = (
        java_class(spark, f"org.apache.iceberg.{name}") for name in ("parquet.ParquetUtil", "DataFiles")
    )
    io, kept = table.io(), java_class(spark, "org.apache.iceberg.MetricsConfig").forTable(table)
    for file in files:
        metrics = parquet.fileMetrics(io.newInputFile(file.path), kept)
        entry = entries.builder(table.spec()).withPath(file.path).withFormat("PARQUET")
        yield entry.withFileSizeInBytes(file.size_bytes).withMetrics(metrics).build()


def has_files(spark: SparkSession, name: str, column: str, value: str) -> bool:
    """Whether any data file may hold rows with this value; its metadata answers, no file is read and no job is run.

    Args:
        column: the answer is exact where the table is partitioned by it.
    """
    same = java_class(spark, "org.apache.iceberg.expressions.Expressions").equal(column, value)
    files = java_table(spark, name).newScan().filter(same).planFiles()
    try:
        return bool(files.iterator().hasNext())
    finally:
        files.close()
