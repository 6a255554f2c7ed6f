"""Spark copies a table to Parquet files as tutorials have it.  spark_jdbc_copy.py FOLDER TABLE LOWEST HIGHEST

Four partitions along the key, all else as it comes: no fetch size, so the driver holds a partition's whole answer.
The database's address is in BENCH_URL.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote, urlsplit

from pyspark.sql import SparkSession

PARTITIONS = 4


def main() -> int:
    folder, table, lowest, highest = sys.argv[1:]
    parts = urlsplit(os.environ["BENCH_URL"])
    spark = SparkSession.builder.appName("spark jdbc").getOrCreate()
    (
        spark.read.format("jdbc")
        # Under jdbc:mariadb: Spark quotes columns with ", which this server takes for text.
        .option("url", f"jdbc:mysql://{parts.hostname}:{parts.port}{parts.path}?permitMysqlScheme")
        .option("driver", "org.mariadb.jdbc.Driver")
        .option("user", unquote(parts.username or ""))
        .option("password", unquote(parts.password or ""))
        .option("dbtable", table)
        .option("partitionColumn", "id")
        .option("lowerBound", lowest)
        .option("upperBound", highest)
        .option("numPartitions", PARTITIONS)
        .load()
        .write.parquet(f"{folder}/files")
    )
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
