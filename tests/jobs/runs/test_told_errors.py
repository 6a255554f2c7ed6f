"""An error nobody foresaw is reported by its kind; its text may hold a value of the row it failed at."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from pyspark.errors import PySparkException

from connectors.errors import UsageError
from jobs.corrections.condition import checked_condition
from jobs.runs.failures import condition_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_spark_error_is_told_by_its_condition(spark: SparkSession) -> None:
    with pytest.raises(PySparkException) as raised:
        spark.sql("SELECT CAST('4111-card-number' AS int)").collect()
    assert "4111-card-number" in str(raised.value)
    assert condition_of(raised.value) == "CAST_INVALID_INPUT"


def test_a_refused_condition_leaves_the_errors_of_spark_as_they_are(spark: SparkSession) -> None:
    # As in a new process: nobody has asked for PySpark's loggers yet.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.root.manager.loggerDict.pop(name, None)
    with pytest.raises(UsageError, match="refuses the condition"):
        checked_condition(spark, spark.range(1), "id = ")
    with pytest.raises(PySparkException):
        spark.sql("SELECT CAST('4111-card-number' AS int)").collect()


def test_a_java_error_is_told_by_its_classes() -> None:
    text = (
        "An error occurred while calling o99.append.\n: org.apache.spark.SparkException: Job aborted: row 4111-card\n"
        "\tat org.apache.spark.Executor.run(Executor.scala:1)\nCaused by: java.sql.SQLDataException: value 4111-card"
    )
    assert condition_of(RuntimeError(text)) == "org.apache.spark.SparkException, java.sql.SQLDataException"
