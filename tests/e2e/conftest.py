"""A lake, a catalog and a warehouse of this test run's own, and databases of a test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from jobs.settings import Settings
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def ferry(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ferry]:
    folder = tmp_path_factory.mktemp("ferry")
    mark = uuid.uuid4().hex[:8]
    for name in ("pipelines", "expectations", "state"):
        (folder / name).mkdir()
    own = {
        "LAKEFERRY_PIPELINES": str(folder / "pipelines"),
        "LAKEFERRY_EXPECTATIONS": str(folder / "expectations"),
        "LAKEFERRY_STATE_DIR": str(folder / "state"),
        "LAKEFERRY_LAKE": f"{settings.lake}/e2e-{mark}",
        "LAKEFERRY_CATALOG": f"sqlite:///{folder}/catalog.db",
        "LAKEFERRY_WAREHOUSE_LEDGER_DATASET": f"ledger_{mark}",
    }
    before = {key: os.environ.get(key) for key in own}
    os.environ.update(own)
    client = bigquery.Client(
        project=settings.warehouse_project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": settings.warehouse_endpoint},
    )
    made = Ferry(folder, dict(os.environ), Settings(), client, [f"ledger_{mark}"])
    yield made
    for dataset in made.datasets:
        client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
    bucket = boto3.resource("s3").Bucket(made.settings.lake_bucket or "")
    bucket.objects.filter(Prefix=f"e2e-{mark}/").delete()
    for key, value in before.items():
        if value is None:
            del os.environ[key]
        else:
            os.environ[key] = value


@pytest.fixture
def aurora() -> Iterator[OwnDatabase]:
    database = OwnDatabase("aurora_payments")
    yield database
    database.close()


@pytest.fixture
def tidb() -> Iterator[OwnDatabase]:
    database = OwnDatabase("tidb_wallet")
    yield database
    database.close()
