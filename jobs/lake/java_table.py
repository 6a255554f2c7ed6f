"""What SQL cannot say or ask of an Iceberg table goes to Iceberg's Java API, through Spark's JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.lake.catalog import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def java_table(spark: SparkSession, name: str) -> Any:
    """The table (`org.apache.iceberg.Table`) as it stands now.

    Args:
        name: as SQL uses it, catalog first.
    """
    jvm: Any = spark._jvm
    return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)


def java_catalog(spark: SparkSession) -> Any:
    """The lake's catalog (`org.apache.iceberg.catalog.Catalog`) that Spark's own tables are of."""
    jvm: Any = spark._jvm
    session: Any = spark._jsparkSession
    # A catalog is made at its first use, of the settings of the session that is active in this thread.
    jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(session)
    return session.sessionState().catalogManager().catalog(CATALOG).icebergCatalog()


def has_files(spark: SparkSession, name: str, column: str, value: str) -> bool:
    """Whether any data file may hold rows with this value; its metadata answers, no file is read and no job is run.

    Args:
        column: the answer is exact where the table is partitioned by it.
    """
    jvm: Any = spark._jvm
    same = jvm.org.apache.iceberg.expressions.Expressions.equal(column, value)
    files = java_table(spark, name).newScan().filter(same).planFiles()
    try:
        return bool(files.iterator().hasNext())
    finally:
        files.close()
