"""What every test may use: the settings of the services `make up` started, one Spark, names of its own."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UniqueName = Callable[[str], str]


@pytest.fixture(scope="session", autouse=True)
def settings() -> Settings:
    """The settings, read once; the connections of the settings file are in the environment from here on."""
    return load_settings()


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """A local Spark with the jars `make setup` fetched; catalogs are for the tests to configure."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    jars = sorted(str(jar) for jar in settings.spark_packages_dir.glob("*.jar"))
    assert jars, f"no jars in {settings.spark_packages_dir}: run `make setup`"
    session = (
        SparkSession.builder.master(settings.spark_master)
        .appName("lakeferry-tests")
        .config("spark.jars", ",".join(jars))
        .config("spark.driver.memory", settings.spark_driver_memory)
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
def unique_name() -> UniqueName:
    """`unique_name("payments")` → `payments_3f9c1a2b`: a name no other test or run has."""

    def make(stem: str) -> str:
        return f"{stem}_{uuid.uuid4().hex[:8]}"

    return make
