"""What many small tables cost Spark and Iceberg at the least.  bare_appends.py TABLE…

One warm session reads each table by Spark's JDBC source and writes it as a new Iceberg table, four at a
time. Prints the seconds this took, without the start.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie two above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from connectors.connection import find_connection
from jobs.lake.names import CATALOG
from jobs.lake.spark_session import open_session
from jobs.runtime.settings import Settings
from tests.bench.server import CONNECTION_ID
from tests.bench.tables import qualified

AT_ONCE = 4
WARM_UPS = 8


def main() -> int:
    tables = sys.argv[1:]
    spark = open_session(Settings(), "bare appends")
    server = find_connection(CONNECTION_ID)
    reader = (
        spark.read.format("jdbc")
        # Under jdbc:mariadb: Spark quotes columns with ", which this server takes for text.
        .option("url", f"jdbc:mysql://{server.host}:{server.port}/?permitMysqlScheme&tinyInt1isBit=false")
        .option("driver", "org.mariadb.jdbc.Driver")
        .option("user", server.login or "")
        .option("password", server.password or "")
        .option("fetchsize", "10000")
    )

    def append(table: str, namespace: str) -> None:
        rows = reader.option("dbtable", qualified(table)).load()
        rows.writeTo(f"{CATALOG}.{namespace}.{table}").create()

    def append_all(tables: list[str], namespace: str) -> None:
        spark.sql(f"CREATE NAMESPACE {CATALOG}.{namespace}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda table: append(table, namespace), tables))

    append_all(tables[:WARM_UPS], "warm_up")
    began = time.monotonic()
    append_all(tables, "bare")
    print(time.monotonic() - began)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
