"""A DAG whose stages run on EMR Serverless: from the artifacts of `make package` and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import boto3
import pytest

from jobs.lake.documents import open_documents
from jobs.runs.receipts import Receipts
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings
from jobs.warehouse.client import open_warehouse
from tests.e2e.ferry import OwnDatabase

ROLE = "arn:aws:iam::123456789012:role/lakeferry-job"
PIPELINE = """\
pipeline: {name}
source: {{type: aurora, connection: {name}_db}}
datasets:
  - name: {name}
    table: {name}.merchants
    primary_key: [merchant_id]
    cursor: updated_at
    lag_seconds: 1
    write_disposition: merge
    expectations: merchants
    bigquery: {{table: {name}.merchants}}
views:
  - {{name: {name}.names, sql: names.sql}}
"""
VIEW = "SELECT merchant_id, name FROM {name}.merchants\n"
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture
def bucket() -> Iterator[str]:
    name = f"emr-{uuid.uuid4().hex[:8]}"
    made = boto3.resource("s3").create_bucket(Bucket=name)
    yield name
    made.objects.delete()
    made.delete()


def test_a_dag_on_emr_that_waits_in_triggers(
    settings: Settings, aurora: OwnDatabase, bucket: str, tmp_path: Path
) -> None:
    name = aurora.name
    aurora.execute(
        "CREATE TABLE merchants (merchant_id INT PRIMARY KEY, name VARCHAR(100), category VARCHAR(40),"
        " region VARCHAR(40), fee_rate DECIMAL(6,4), created_at DATETIME(6), updated_at DATETIME(6), KEY (updated_at))"
    )
    aurora.insert("merchants", [(1, "さくら珈琲店 ☕", "food", None, "0.0325", "2026-01-01", "2026-01-01")])
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name), encoding="utf-8")
    (tmp_path / "pipelines" / "names.sql").write_text(VIEW.format(name=name), encoding="utf-8")
    secrets = boto3.client("secretsmanager")
    uri = os.environ["AIRFLOW_CONN_AURORA_PAYMENTS"]
    secrets.create_secret(Name=f"airflow/connections/{name}_db", SecretString=uri)
    application = boto3.client("emr-serverless").create_application(name=name, releaseLabel="emr-7.12.0", type="SPARK")
    own = {
        "LAKEFERRY_RUNNER": "emr_serverless",
        "LAKEFERRY_ARTIFACTS": f"s3://{bucket}/artifacts",
        "LAKEFERRY_EMR_APPLICATION_ID": application["applicationId"],
        "LAKEFERRY_EMR_JOB_ROLE_ARN": ROLE,
        # A task that waits in the triggerer goes on to wait as the others do: both ways are in this run.
        "LAKEFERRY_EMR_DEFERRABLE": "true",
        "LAKEFERRY_LAKE": f"s3://{bucket}/lake",
        "LAKEFERRY_CATALOG": f"sqlite:///{tmp_path}/catalog.db",
        "LAKEFERRY_PIPELINES": str(tmp_path / "pipelines"),
        "LAKEFERRY_STATE_DIR": str(tmp_path / "state"),
        "LAKEFERRY_SECRETS": "secrets_manager",
        "LAKEFERRY_WAREHOUSE_LEDGER_DATASET": f"{name}_ledger",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'dags'}",
    }
    (tmp_path / "state").mkdir()
    local = {f"LAKEFERRY_{key.upper()}": str(value) for key, value in settings.model_dump(exclude_none=True).items()}
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_CONN_", "LAKEFERRY_"))}
    environment = outside | local | own
    environment["LAKEFERRY_SETTINGS_FILE"] = str(tmp_path / "none.env")
    (tmp_path / "none.env").write_text("", encoding="utf-8")
    try:
        _run(environment, "docker/package.py")
        _run(environment, "-m", "airflow", "db", "migrate")
        log = _run(environment, "-m", "airflow", "dags", "test", name)
        receipts = Receipts(open_documents(own["LAKEFERRY_LAKE"])).of_pipeline(name)
        stages = {receipt.stage: receipt for receipt in receipts}
        assert set(stages) == {"plan", "extract", "check", "load", "view"}, log[-4000:]
        assert (stages["check"].source_rows, stages["check"].published, stages["load"].loaded) == (1, 1, 1)
        query = f"SELECT merchant_id, name, region, fee_rate FROM {name}.merchants"
        [row] = open_warehouse(settings).client.query(query).result(timeout=60)
        assert tuple(row.values()) == (1, "さくら珈琲店 ☕", None, Decimal("0.0325"))
        rows = open_warehouse(settings).client.query(f"SELECT * FROM {name}.names").result(timeout=60)
        assert [tuple(row.values()) for row in rows] == [(1, "さくら珈琲店 ☕")]
        runs = boto3.client("emr-serverless").list_job_runs(applicationId=application["applicationId"])["jobRuns"]
        assert [run["state"] for run in runs] == ["SUCCESS"] * len(runs)
        assert runs
        # Airflow serialized the trigger of each job, and ran what it read back.
        assert log.count("running trigger in line") == len(runs), log[-4000:]
        assert "will be retried" not in log
        assert uri not in log
    finally:
        secrets.delete_secret(SecretId=f"airflow/connections/{name}_db", ForceDeleteWithoutRecovery=True)
        for dataset in (name, f"{name}_ledger"):
            open_warehouse(settings).client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


def _run(environment: dict[str, str], *command: str) -> str:
    ran = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
    return ran.stdout
