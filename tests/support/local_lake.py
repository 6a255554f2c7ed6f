"""Context managers that tests and scripts share: a local Spark session, and a lake and warehouse of their own."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from jobs.lake.spark_session import retrying_master
from jobs.launch.commands import LOCAL_CONFS
from jobs.launch.spark_home import spark_home
from jobs.runtime.settings import Settings
from tests.e2e.ferry import Ferry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL_BATCHES = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
"""Java options for batches of a few rows: compiling them well takes longer than running them badly, and a collector
that works beside them takes the cores of other test workers."""
_FOR_MANY_RUNS = {
    # The same generated code comes again in many tests; Spark keeps a hundred classes unless this says otherwise.
    "spark.sql.codegen.cache.maxEntries": "5000",
    # What a UI would show of past jobs and queries; without one it only fills the heap.
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "100",
    "spark.sql.ui.retainedExecutions": "10",
    "spark.ui.liveUpdate.period": "-1",
}
"""Settings of one session for hundreds of runs (Spark's guide, "Configuration": Spark UI; the first is internal, see
`StaticSQLConf`). They change what is remembered, not what is computed."""


@contextmanager
def local_spark(settings: Settings) -> Iterator[SparkSession]:
    """Open a local Spark session with the jars that `make setup` fetched. The caller configures catalogs."""
    from pyspark.sql import SparkSession

    os.environ["SPARK_HOME"] = str(spark_home())
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    jars = sorted(str(jar) for jar in settings.spark_packages_dir.glob("*.jar"))
    assert jars, f"no jars in {settings.spark_packages_dir}: run `make setup`"
    builder = (
        SparkSession.builder.master(retrying_master(settings.spark_master))
        .appName("lakeferry-tests")
        .config("spark.jars", ",".join(jars))
        .config("spark.driver.memory", settings.spark_driver_memory)
        .config("spark.driver.extraJavaOptions", settings.spark_java_options)
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        # As `lakeferry run` has it: Python workers are forked with what they use imported.
        .config("spark.python.daemon.module", LOCAL_CONFS["spark.python.daemon.module"])
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
    )
    for key, value in _FOR_MANY_RUNS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def own_ferry(settings: Settings, folder: Path) -> Iterator[Ferry]:
    """Open a new lake and warehouse in the local services, and remove them afterwards.

    Args:
        folder: an empty folder for specs, suites, the catalog and state.
    """
    mark = uuid.uuid4().hex[:8]
    for name in ("pipelines", "expectations", "state"):
        (folder / name).mkdir()
    own = {
        "LAKEFERRY_PIPELINES": str(folder / "pipelines"),
        "LAKEFERRY_EXPECTATIONS": str(folder / "expectations"),
        "LAKEFERRY_STATE_DIR": str(folder / "state"),
        # A bucket of its own: the local S3 goes through all keys of a bucket for each list.
        "LAKEFERRY_LAKE": f"s3://lakeferry-e2e-{mark}/lake",
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
    bucket = boto3.resource("s3").create_bucket(Bucket=f"lakeferry-e2e-{mark}")
    ferry = Ferry(folder, dict(os.environ), Settings(), client, [f"ledger_{mark}"])
    try:
        yield ferry
    finally:
        for dataset in ferry.datasets:
            client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        bucket.objects.delete()
        bucket.delete()
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
