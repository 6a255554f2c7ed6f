"""Every DAG that this project builds: those of its own pipelines, the page's, and those of pipelines that hold all that
a spec may say: each kind of source, views, derived datasets, few and many datasets, each option for Airflow.

`dags/lakeferry_broken_specs.py` registers none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import connectors
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.status_page import page_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from jobs.spec.models import PipelineSpec

OWN = CHECKOUT / "dags" / "pipelines"
MANY = 60
"""More datasets than have a task each."""
DATASETS = {
    "aurora": "table: shop.{name}, cursor: updated_at, mask: {{phone: hmac}}, deletes: sweep",
    "tidb": "table: wallet.{name}, cursor: id",
    "kafka": "topic: {name}, format: json, columns: {{id: bigint, at: timestamp}}",
    "s3": 'path: "s3://landing/{name}/", suffix: .csv, format: csv, columns: {{id: bigint, at: timestamp}}',
    "derived": "inputs: [aurora_00, tidb_00], transform: merchant_sales:daily",
}
"""The keys that say where a dataset of each kind of pipeline is read from."""
SCHEDULES = {
    "aurora": '"7 3 * * mon"',
    "tidb": '"@hourly"',
    "kafka": "",
    "s3": "{after_all: [aurora_00, tidb_00]}",
    "derived": '{after: [aurora_00, tidb_00], cron: "0 3 * * *"}',
}
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
NOTIFIER = f"{{notifier: {SMTP}, arguments: {{to: a@b.c, from_email: d@e.f}}}}"
OPTIONS = f"""\
airflow:
  owner: money
  tags: [ledger, "tier 1", zeta, alpha]
  pool: aurora
  queue: spark
  priority: 7
  executor_config: {{KubernetesExecutor: {{request_memory: 2Gi, labels: {{b: "1", a: "2"}}}}}}
  time_zone: Asia/Tokyo
  access_control: {{Viewer: [can_read], User: [can_edit, can_read, can_delete]}}
  max_failed_runs: 3
  timeouts: {{plan: 30 min, stage: 4 h, run: 9 h}}
  notify: {{failure: [{NOTIFIER}], success: [{NOTIFIER}]}}
  deadline: {{after: 2 h, notify: [{NOTIFIER}]}}
"""


def every_dag(folder: Path, **settings: object) -> dict[str, DAG]:
    """The DAGs by id.

    Args:
        folder: an empty one, for the specs that are written.
        settings: what else than the defaults is set.
    """
    write_pipelines(folder)
    dags = {}
    for pipelines in (OWN, folder):
        its = Settings.model_validate({"warehouse_project": "shop-project", **settings, "pipelines": pipelines})
        dags |= {dag.dag_id: dag for dag in [*(build_dag(spec, its) for spec in _read(pipelines)), page_dag(its)]}
    return dags


def write_pipelines(folder: Path) -> None:
    """Write a pipeline of few datasets and one of many for each kind; the former has the options."""
    assert set(DATASETS) == {*connectors.SOURCES, "derived"}, "a kind of source has no pipeline here"
    folder.mkdir(parents=True)
    for kind in DATASETS:
        (folder / f"{kind}.yaml").write_text(_pipeline(kind, kind, 3) + OPTIONS)
        (folder / f"many_{kind}.yaml").write_text(_pipeline(f"many_{kind}", kind, MANY))
        for name in (kind, f"many_{kind}"):
            (folder / f"{name}.sql").write_text(f"SELECT * FROM `shop.{name}_00`\n")


def _pipeline(pipeline: str, kind: str, datasets: int) -> str:
    lines = [f"pipeline: {pipeline}", f"description: Each kind of dataset, from {kind}"]
    lines += [f"schedule: {SCHEDULES[kind]}"] * bool(SCHEDULES[kind])
    lines += [f"source: {{type: {kind}, connection: {kind}_1}}"] * (kind != "derived")
    lines += ["datasets:"]
    for name in (f"{pipeline}_{number:02}" for number in range(datasets)):
        own = f"{DATASETS[kind].format(name=name)}, primary_key: [id], write_disposition: merge"
        lines.append(f"  - {{name: {name}, {own}, bigquery: {{table: shop.{name}}}}}")
    lines += ["views:", f"  - {{name: studio.{pipeline}, sql: {pipeline}.sql, description: A view}}"]
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> list[PipelineSpec]:
    specs, broken = load_pipelines(folder)
    assert broken == {}, "\n".join(str(error) for error in broken.values())
    return list(specs.values())
