"""Parquet files into an empty BigQuery table, as Google's samples have it.  hand_load.py FOLDER DATASET.TABLE

The API's address and the project are in BENCH_BIGQUERY and BENCH_PROJECT.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery


def main() -> int:
    folder, table = sys.argv[1:]
    client = bigquery.Client(
        project=os.environ["BENCH_PROJECT"],
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": os.environ["BENCH_BIGQUERY"]},
    )
    config = bigquery.LoadJobConfig(source_format=bigquery.SourceFormat.PARQUET, write_disposition="WRITE_APPEND")
    for path in sorted(Path(folder).glob("*.parquet")):
        with path.open("rb") as file:
            client.load_table_from_file(file, table, job_config=config, timeout=900).result(timeout=900)
    print(client.get_table(table).num_rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
