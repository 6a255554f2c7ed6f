"""A folder of generated pipelines, as large as a company's: what Airflow's DAG processor reads in the benchmark."""

from __future__ import annotations

from pathlib import Path

_HEAD = """\
pipeline: {name}
description: Tables of the service {name}
schedule: "{minute} * * * *"
source: {{type: aurora, connection: aurora_{name}}}
datasets:
"""
_DATASET = """\
  - name: {name}
    description: Rows of {name}, as they stand now
    table: shop.{name}
    primary_key: [id]
    cursor: updated_at
    lag_seconds: 300
    write_disposition: merge
    mask: {{phone: hmac, memo: drop}}
    bigquery: {{table: shop.{name}, partition_by: created_at, cluster_by: [merchant_id]}}
"""


def generate_pipelines(folder: Path, pipelines: int, datasets: int) -> None:
    """Write that many pipelines of that many datasets each into a folder, which is made."""
    folder.mkdir(parents=True)
    for number in range(pipelines):
        name = f"service_{number:04d}"
        tables = "".join(_DATASET.format(name=f"{name}_table_{index:02d}") for index in range(datasets))
        text = _HEAD.format(name=name, minute=number % 60) + tables
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
