"""Rules on columns whose names Spark reads otherwise than they are written: a dot, a backquote, a blank, any sign."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from expectations.data_docs import render
from expectations.row_rules import rejection
from expectations.runner import check

if TYPE_CHECKING:
    from conftest import MakeSuite
    from pyspark.sql import SparkSession

NUMBER, TEXT, OTHER = "unit.qty", "a `b`.c d", "$金額.%s"
ROW_RULES = """
    - expect_column_values_to_not_be_null: {column: N}
    - expect_column_values_to_be_null: {column: N}
    - expect_column_values_to_be_between: {column: N, min_value: 2}
    - expect_column_values_to_be_in_set: {column: N, value_set: [1]}
    - expect_column_values_to_not_be_in_set: {column: N, value_set: [1]}
    - expect_column_values_to_match_regex: {column: T, regex: "^x$"}
    - expect_column_values_to_not_match_regex: {column: T, regex: "^x$"}
    - expect_column_value_lengths_to_be_between: {column: T, max_value: 1}
    - expect_column_value_lengths_to_equal: {column: T, value: 1}
    - expect_column_pair_values_a_to_be_greater_than_b: {column_A: N, column_B: O}
    - expect_column_pair_values_to_be_equal: {column_A: N, column_B: O}
"""
DATASET_RULES = """
    - expect_table_row_count_to_be_between: {min_value: 9}
    - expect_column_sum_to_be_between: {column: N, min_value: 9}
    - expect_column_mean_to_be_between: {column: N, min_value: 9}
    - expect_column_min_to_be_between: {column: N, min_value: 9}
    - expect_column_max_to_be_between: {column: N, min_value: 9}
    - expect_column_unique_value_count_to_be_between: {column: T, min_value: 9}
    - expect_column_proportion_of_unique_values_to_be_between: {column: O, min_value: 1}
    - expect_column_proportion_of_non_null_values_to_be_between: {column: O, min_value: 1}
    - expect_compound_columns_to_be_unique: {column_list: [T, O]}
"""


def _named(rules: str, number: str, text: str, other: str) -> str:
    """Rules with the columns' names, in quotes: the letters stand for the three."""
    for letter, name in (("N", number), ("T", text), ("O", other)):
        for before, after in ((": ", "}"), (": ", ","), ("[", ","), (", ", "]")):
            rules = rules.replace(f"{before}{letter}{after}", f"{before}{json.dumps(name)}{after}")
    return rules


@pytest.mark.parametrize(
    ("number", "text", "other"),
    [(NUMBER, TEXT, OTHER), ("a.b", "A.B.C", "`q`"), ("select", "order by", "1st"), ("n", "t", "o")],
    ids=["odd", "dots", "words", "plain"],
)
def test_every_rule_finds_the_same(
    spark: SparkSession, make_suite: MakeSuite, number: str, text: str, other: str
) -> None:
    rows = [(1, "x", 1), (2, "yy", 1), (3, "yy", None)]
    frame = spark.createDataFrame(rows, "n int, t string, o int").toDF(number, text, other)
    rules = _named("dataset:" + ROW_RULES + DATASET_RULES.lstrip("\n"), number, text, other)
    verdict = check(frame, make_suite(rules, dict(frame.dtypes)), dataset="d", run_id="r", batch=1)
    found = {failure.partition(" (")[0]: failure.partition(": ")[2] for failure in verdict.failures}
    assert found == {
        "expect_column_values_to_be_null": f"{number} must be NULL; 3 of 3 rows break it",
        "expect_column_values_to_be_between": f"{number} must be at least 2; 1 of 3 rows break it",
        "expect_column_values_to_be_in_set": f"{number} must be one of 1; 2 of 3 rows break it",
        "expect_column_values_to_not_be_in_set": f"{number} must not be one of 1; 1 of 3 rows break it",
        "expect_column_values_to_match_regex": f"{text} must match ^x$; 2 of 3 rows break it",
        "expect_column_values_to_not_match_regex": f"{text} must not match ^x$; 1 of 3 rows break it",
        "expect_column_value_lengths_to_be_between": f"{text} must be at most 1 characters long; 2 of 3 rows break it",
        "expect_column_value_lengths_to_equal": f"{text} must be 1 characters long; 2 of 3 rows break it",
        "expect_column_pair_values_a_to_be_greater_than_b": f"{number} must be more than {other}; 1 of 3 rows break it",
        "expect_column_pair_values_to_be_equal": f"{number} must equal {other}; 1 of 3 rows break it",
        "expect_table_row_count_to_be_between": "the number of rows must be at least 9; it is 3",
        "expect_column_sum_to_be_between": f"the sum of {number} must be at least 9; it is 6",
        "expect_column_mean_to_be_between": f"the mean of {number} must be at least 9; it is 2.0000",
        "expect_column_min_to_be_between": f"the minimum of {number} must be at least 9; it is 1",
        "expect_column_max_to_be_between": f"the maximum of {number} must be at least 9; it is 3",
        "expect_column_unique_value_count_to_be_between": f"the number of distinct values of {text} must be at least 9;"
        " it is 2",
        "expect_column_proportion_of_unique_values_to_be_between": f"the share of distinct values of {other} must be at"
        " least 1; it is 0.5",
        "expect_column_proportion_of_non_null_values_to_be_between": f"the share of values that are not NULL of {other}"
        " must be at least 1; it is 0.6666666666666666",
    }
    assert "_rule_column" not in json.dumps(verdict.result)
    assert "_rule_column" not in render(verdict)

    rules = _named("rows:" + ROW_RULES, number, text, other)
    suite = make_suite(rules, dict(frame.dtypes))
    reasons = [row[0] for row in frame.select(rejection(suite, dict(frame.dtypes)).alias("r")).collect()]
    assert reasons[0].startswith(f"{number} must be NULL; {number} must be at least 2; ")


def test_columns_of_no_rule_keep_their_names(spark: SparkSession, make_suite: MakeSuite) -> None:
    frame = spark.range(2).select(F.col("id"), F.col("id").alias("a.b"), F.col("id").alias("c`d"))
    rule = "dataset:\n  - expect_column_sum_to_be_between: {column: id, min_value: 1, max_value: 1}\n"
    assert check(frame, make_suite(rule, dict(frame.dtypes)), dataset="d", run_id="r", batch=1).success
