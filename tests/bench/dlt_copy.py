"""dlt copies tables to Parquet files.  dlt_copy.py FOLDER BACKEND TABLE…

Runs in an environment of its own. Options are those of dlt's documentation for large tables ("Configuring the
backend" of its SQL source): types kept as they are, chunks of 100,000 rows, connectorx in four partitions.
The database's address is in BENCH_URL.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import dlt
from dlt.destinations import filesystem
from dlt.sources.sql_database import sql_database

CHUNK_ROWS = 100_000


def main() -> int:
    folder, backend, *tables = sys.argv[1:]
    url = os.environ["BENCH_URL"]
    options: dict[str, Any] = {}
    if backend == "connectorx":
        options["conn"] = url
        if len(tables) == 1:
            options |= {"partition_on": "id", "partition_num": 4}
    source = sql_database(
        url.replace("mysql://", "mysql+pymysql://", 1),
        table_names=tables,
        chunk_size=CHUNK_ROWS,
        backend=backend,
        backend_kwargs=options,
        reflection_level="full_with_precision",
    )
    pipeline = dlt.pipeline("bench", pipelines_dir=f"{folder}/state", destination=filesystem(f"{folder}/files"))
    told = pipeline.run(source, dataset_name="bench", loader_file_format="parquet", write_disposition="append")
    told.raise_on_failed_jobs()
    return 0


if __name__ == "__main__":
    sys.exit(main())
