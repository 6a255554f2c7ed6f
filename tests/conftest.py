"""What every test may use: the settings of the services `make up` started, one Spark, names of its own,
a lake and warehouse of this test run's own, and databases of a test's own."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from jobs.settings import Settings, load_settings
from jobs.spark import retrying_master
from jobs.spark_home import spark_home
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UniqueName = Callable[[str], str]


def pytest_addoption(parser: pytest.Parser) -> None:
    seeds = parser.getgroup("foreign", "operations of other tools on the lake's tables (tests/foreign)")
    seeds.addoption("--foreign-seeds", type=int, help="play every kind alone, with so many seeds of each")
    seeds.addoption("--foreign-first-seed", type=int, default=1, help="the first of these seeds; default: 1")


@pytest.fixture(scope="session", autouse=True)
def settings() -> Settings:
    """The settings, read once; the connections of the settings file are in the environment from here on."""
    # Batches of a few rows: compiling them well takes longer than running them badly.
    os.environ.setdefault("LAKEFERRY_SPARK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")
    return load_settings()


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """A local Spark with the jars `make setup` fetched; catalogs are for the tests to configure."""
    from pyspark.sql import SparkSession

    os.environ["SPARK_HOME"] = str(spark_home())
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    jars = sorted(str(jar) for jar in settings.spark_packages_dir.glob("*.jar"))
    assert jars, f"no jars in {settings.spark_packages_dir}: run `make setup`"
    session = (
        SparkSession.builder.master(retrying_master(settings.spark_master))
        .appName("lakeferry-tests")
        .config("spark.jars", ",".join(jars))
        .config("spark.driver.memory", settings.spark_driver_memory)
        .config("spark.driver.extraJavaOptions", settings.spark_java_options)
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def googlesql() -> None:
    """ZetaSQL, compiled once a machine: as it comes each process compiles its WebAssembly for half a minute."""
    from wasmtime import Config
    from zetasql.core import wasm_client

    def cached() -> Config:
        config = Config()
        config.cache = True
        return config

    wasm_client.Config = cached


@pytest.fixture(scope="session")
def unique_name() -> UniqueName:
    """`unique_name("payments")` → `payments_3f9c1a2b`: a name no other test or run has."""

    def make(stem: str) -> str:
        return f"{stem}_{uuid.uuid4().hex[:8]}"

    return make


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
