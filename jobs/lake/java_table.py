"""What SQL cannot say or ask of an Iceberg table goes to Iceberg's Java API, through Spark's JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass

from jobs.lake.names import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
