"""What `jobs.launch.class_archive` records: a Spark application that loads the classes every stage uses."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pyspark.sql import functions as F

from connectors.base import Column
from jobs.lake.catalog import ensure_namespaces, open_catalog
from jobs.lake.curated import catch_up
from jobs.lake.raw_table import RawTable
from jobs.lake.schema import raw_columns
from jobs.lake.spark_session import open_session, session_with_properties
from jobs.lake.tables import ensure_tables
from jobs.runtime.settings import Settings


def main() -> int:
    """Make a table, append to a branch, delete, count, publish and merge, twice."""
    settings = Settings()
    spark = open_session(settings, "lakeferry warm-up")
    columns = (
        Column(name="id", source_type="bigint", spark_type="bigint"),
        Column(name="amount", source_type="decimal", spark_type="decimal(18,2)"),
        Column(name="at", source_type="timestamp", spark_type="timestamp"),
        Column(name="text", source_type="text", spark_type="string"),
    )
    ensure_namespaces(open_catalog(settings))
    ensure_tables(spark, "warm_up", columns, "at")
    table = RawTable(spark, "warm_up")
    for batch in (1, 2):
        values = {
            "id": F.col("id"),
            "amount": F.lit("1.10"),
            "at": F.current_timestamp(),
            "text": F.lit("x"),
            "_batch": F.lit(batch),
        }
        rows = spark.range(100).select(
            *[values.get(c.name, F.lit(None)).cast(c.spark_type).alias(c.name) for c in raw_columns(columns)]
        )
        base = table.head().snapshot_id
        branch = table.open_attempt(f"run{batch}", 1, base).branch
        table.append(rows, branch, {"lakeferry.batch": str(batch)})
        session_with_properties(spark, {"lakeferry.batch": str(batch)}).sql(
            f"DELETE FROM {table.name}.branch_{branch} WHERE _batch = {batch} AND id = 7"
        )
        sealed = {
            "batch": str(batch),
            "run-id": "r",
            "generation": "1",
            "sealed": "true",
            "rows": "99",
            "quarantined": "0",
        }
        head = table.seal(branch, {f"lakeferry.{key}": value for key, value in sealed.items()})
        table.rows(head.snapshot_id).groupBy("_batch").count().collect()
        table.publish(head, f"run{batch}", batch, base)
        catch_up(
            lambda: spark, open_catalog(settings), "warm_up", "merge", keys=["id"], versions=["at"], partition_by=None
        )
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
