"""The Spark session of a stage: the lake's catalog, UTC, and no option that pads or shifts a value."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from jobs.lake.names import CATALOG, DATABASE_PREFIX
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SNAPSHOT_PROPERTY = "spark.sql.iceberg.snapshot-property."
NO_SUBSTITUTION = {"spark.sql.variable.substitute": "false"}
"""An option of every session. SQL holds names and comments of sources, and Spark would replace `${env:X}` or
`${system:X}` in them by a value of this machine, such as a connection (Spark's guide, "Configuration": Runtime SQL
Configuration)."""
TABLE_PROPERTIES = {
    "format-version": "2",
    "write.distribution-mode": "none",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
    # Otherwise a task holds a file open for every partition of its rows; thousands of days are more than a driver's
    # memory. Sorted by partition it holds one (Iceberg's documentation, "Spark Writes", Writing Distribution Modes).
    "write.spark.fanout.enabled": "false",
}
"""The properties with which a table of the lake is created."""
LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false"}
"""On one machine nobody else needs the driver, whose UI would listen on all interfaces."""
LOG_LEVEL = "ERROR"
TASK_ATTEMPTS = 4
"""How often a task is tried before its job fails: what Spark does on a cluster (`spark.task.maxFailures`)."""


def session_options(settings: Settings) -> dict[str, str]:
    """Return the options that every lake session needs. They hold no secret."""
    catalog = f"spark.sql.catalog.{CATALOG}"
    options = {
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.warehouse": settings.lake,
        f"{catalog}.{DATABASE_PREFIX}": settings.databases,
        # A session that caches tables reads stale ones: other runs publish while it lives.
        f"{catalog}.cache-enabled": "false",
        **{f"{catalog}.table-default.{key}": value for key, value in TABLE_PROPERTIES.items()},
        **NO_SUBSTITUTION,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.readSideCharPadding": "false",
        "spark.sql.ansi.enabled": "true",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.legacy.timeParserPolicy": "CORRECTED",
        # With a number in its name the same generated code is another class, compiled and warmed up again, in each
        # query, and for each slice of a read.
        "spark.sql.codegen.useIdInClassName": "false",
    }
    if settings.catalog == "glue":
        options[f"{catalog}.type"] = "glue"
    else:
        options |= {
            f"{catalog}.type": "jdbc",
            f"{catalog}.uri": f"jdbc:sqlite:{settings.catalog_file}",
            f"{catalog}.jdbc.schema-version": "V1",
        }
    if settings.lake.startswith("s3://"):
        options[f"{catalog}.io-impl"] = "org.apache.iceberg.aws.s3.S3FileIO"
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
        if endpoint:
            options |= {f"{catalog}.s3.endpoint": endpoint, f"{catalog}.s3.path-style-access": "true"}
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region:
            options[f"{catalog}.client.region"] = region
    return options


def retrying_master(master: str) -> str:
    """Return `local[2]` as `local[2,4]`; any other master as it is.

    On one machine Spark tries a task once, regardless of `spark.task.maxFailures`; the second number is the only way to
    say more (SparkMasterRegex.LOCAL_N_FAILURES_REGEX). A task reads one slice, and what a failed attempt wrote is in no
    commit, so only the slice whose connection broke is read again.
    """
    local = re.fullmatch(r"local(?:\[(\*|[0-9]+)\])?", master)
    return f"local[{local[1] or 1},{TASK_ATTEMPTS}]" if local else master


def under_spark() -> bool:
    """Whether `spark-submit` began this process, so that a session costs no JVM of its own."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def open_session(settings: Settings, name: str) -> SparkSession:
    """Open the session of this application; `name` is what the cluster shows."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    from jobs.lake.java_api import java_catalog

    builder = SparkSession.builder.appName(name)
    if under_spark() and SparkContext._active_spark_context is None:
        # Under spark-submit: its master is in the JVM already, which a new SparkConf reads once Python is joined to it.
        SparkContext._ensure_initialized()
        conf = SparkConf()
        master = retrying_master(conf.get("spark.master", "local[*]") or "local[*]")
        builder = builder.master(master)
        if master.startswith("local"):
            for key, value in LOOPBACK.items():
                builder = builder.config(key, conf.get(key, value))
    for key, value in session_options(settings).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _hand_over_credentials(spark)
    spark.sparkContext.setLogLevel(LOG_LEVEL)
    # A catalog is created at its first use, with the settings of the thread's active session: this one, in this thread.
    java_catalog(spark)
    return spark


def _hand_over_credentials(spark: SparkSession) -> None:
    """Give the JVM the AWS credentials that only Python has, read from the settings file after the JVM began.

    System properties, as Spark's configuration is shown and logged; the SDK's default chain looks there
    ("Default credentials provider chain" in the AWS SDK for Java's guide).
    """
    names = {"AWS_ACCESS_KEY_ID": "aws.accessKeyId", "AWS_SECRET_ACCESS_KEY": "aws.secretAccessKey"}
    system: Any = spark._jvm.java.lang.System  # type: ignore[union-attr]
    for variable, name in names.items():
        value = os.environ.get(variable)
        if value and system.getenv(variable) is None:
            system.setProperty(name, value)


def session_with_properties(spark: SparkSession, properties: dict[str, str]) -> SparkSession:
    """Return a session beside this one whose SQL commits carry these snapshot properties.

    SQL has no place for them; Iceberg reads them from the session, so two datasets need two.
    """
    beside = spark.newSession()
    # A new session has the options with which the application began, not those this session was given since.
    for key, value in spark.conf.getAll.items():
        if key.startswith(f"spark.sql.catalog.{CATALOG}"):
            beside.conf.set(key, value)
    for key, value in NO_SUBSTITUTION.items():
        beside.conf.set(key, value)
    for key, value in properties.items():
        beside.conf.set(SNAPSHOT_PROPERTY + key, value)
    return beside
