"""A condition that Spark cannot evaluate is the user's mistake, whichever part fails. No value is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connectors.errors import UsageError
from jobs.corrections.condition import asked_silently, checked_condition

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize(
    "condition",
    ["v RLIKE '('", "xpath_int(v, 'a') = 1", "CAST(v AS INT) = 1", "parse_json(v) IS NULL"],
)
def test_an_expression_that_fails_at_a_row_is_refused_without_the_row(
    spark: SparkSession, condition: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="Spark SQL refuses the condition") as caught:
        _count(spark, condition)
    assert "4111" not in str(caught.value)
    assert caught.value.__cause__ is None
    said = capfd.readouterr()
    assert "4111" not in said.out + said.err


def _count(spark: SparkSession, condition: str) -> None:
    from pyspark.sql import functions as F

    rows = spark.createDataFrame([("<4111 card",)], "v string")
    checked_condition(spark, rows, condition)
    with asked_silently(rows):
        rows.agg(F.count_if(F.expr(condition))).first()
