"""An error nobody foresaw is told by its kind; its text may hold a value of the row it failed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyspark.errors import PySparkException

from jobs.failures import condition_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_spark_error_is_told_by_its_condition(spark: SparkSession) -> None:
    with pytest.raises(PySparkException) as raised:
        spark.sql("SELECT CAST('4111-card-number' AS int)").collect()
    assert "4111-card-number" in str(raised.value)
    assert condition_of(raised.value) == "CAST_INVALID_INPUT"


def test_a_java_error_is_told_by_its_classes() -> None:
    text = (
        "An error occurred while calling o99.append.\n: org.apache.spark.SparkException: Job aborted: row 4111-card\n"
        "\tat org.apache.spark.Executor.run(Executor.scala:1)\nCaused by: java.sql.SQLDataException: value 4111-card"
    )
    assert condition_of(RuntimeError(text)) == "org.apache.spark.SparkException, java.sql.SQLDataException"
