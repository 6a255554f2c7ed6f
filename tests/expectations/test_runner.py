"""Suites run by Great Expectations: verdicts, exact aggregates, and reports that leak nothing."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import DataFrame

from expectations.data_docs import render
from expectations.runner import check

if TYPE_CHECKING:
    from conftest import MakeSuite
    from pyspark.sql import SparkSession

SECRET = "平文太郎-planted-0X7"

SUITE = """
    rows:
      - expect_column_values_to_be_in_set: {column: name, value_set: [shop]}
      - expect_column_value_lengths_to_be_between: {column: name, max_value: 4}
    dataset:
      - expect_table_row_count_to_be_between: {min_value: 4}
      - expect_column_sum_to_be_between: {column: amount, max_value: 9999999999999999.99}
      - expect_column_sum_to_be_between: {column: amount, min_value: "10000000000000000.00", max_value: "10000000000000000.00"}
      - expect_column_sum_to_be_between: {column: units, max_value: 18014398509481986}
      - expect_column_mean_to_be_between: {column: ratio, max_value: 0.25}
      - expect_column_min_to_be_between: {column: day, min_value: 2026-01-02}
      - expect_column_max_to_be_between: {column: amount, max_value: 9999999999999999.98}
      - expect_column_unique_value_count_to_be_between: {column: name, min_value: 2, max_value: 2}
      - expect_column_proportion_of_unique_values_to_be_between: {column: units, min_value: 1}
      - expect_column_proportion_of_non_null_values_to_be_between: {column: name, min_value: 0.67}
      - expect_compound_columns_to_be_unique: {column_list: [day, ratio]}
      - expect_column_values_to_not_be_null: {column: name, mostly: 0.6}
      - expect_column_values_to_not_be_null: {column: name, mostly: 0.7}
"""  # noqa: E501


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.sql(f"""
        SELECT * FROM VALUES
          ('shop', CAST('9999999999999999.99' AS decimal(18,2)), 9007199254740993L, 0.5D, DATE'2026-01-01'),
          ('{SECRET}', CAST('0.01' AS decimal(18,2)), 9007199254740993L, 0.1D, DATE'2026-01-02'),
          (NULL, NULL, 1L, 0.1D, DATE'2026-01-02')
        AS t(name, amount, units, ratio, day)
    """)


def test_a_verdict(frame: DataFrame, make_suite: MakeSuite) -> None:
    verdict = check(frame, make_suite(SUITE, dict(frame.dtypes)), dataset="shops", run_id="r+1", batch=7)
    assert not verdict.success
    assert list(verdict.failures) == [
        "expect_column_values_to_be_in_set (rules.yaml:3): name must be one of shop; 1 of 3 rows break it",
        "expect_column_value_lengths_to_be_between (rules.yaml:4): name must be at most 4 characters long; "
        "1 of 3 rows break it",
        "expect_table_row_count_to_be_between (rules.yaml:6): the number of rows must be at least 4; it is 3",
        "expect_column_sum_to_be_between (rules.yaml:7): the sum of amount must be at most 9999999999999999.99; "
        "it is 10000000000000000.00",
        "expect_column_sum_to_be_between (rules.yaml:9): the sum of units must be at most 18014398509481986; "
        "it is 18014398509481987",
        "expect_column_min_to_be_between (rules.yaml:11): the minimum of day must be at least 2026-01-02; "
        "it is 2026-01-01",
        "expect_column_max_to_be_between (rules.yaml:12): the maximum of amount must be at most 9999999999999999.98; "
        "it is 9999999999999999.99",
        "expect_column_proportion_of_unique_values_to_be_between (rules.yaml:14): "
        "the share of distinct values of units must be at least 1; it is 0.6666666666666666",
        "expect_column_proportion_of_non_null_values_to_be_between (rules.yaml:15): "
        "the share of values that are not NULL of name must be at least 0.67; it is 0.6666666666666666",
        "expect_compound_columns_to_be_unique (rules.yaml:16): day, ratio together must be unique; "
        "2 of 3 rows break it",
        "expect_column_values_to_not_be_null (rules.yaml:18): name must not be NULL; 1 of 3 rows break it, "
        "0.7 of them must keep it",
    ]
    assert verdict.statistics == {
        "evaluated_expectations": 15,
        "successful_expectations": 4,
        "unsuccessful_expectations": 11,
        "success_percent": pytest.approx(400 / 15),
    }
    assert SECRET not in json.dumps(verdict.result, ensure_ascii=False)


def test_data_docs_hold_rules_and_counts_and_no_values(frame: DataFrame, make_suite: MakeSuite) -> None:
    suite = make_suite(SUITE, dict(frame.dtypes))
    failed = check(frame, suite, dataset="shops", run_id="scheduled__2026-11-20T00:00:00+00:00", batch=7)
    rows = make_suite("dataset:\n  - expect_table_row_count_to_be_between: {min_value: 3}")
    passed = check(frame, rows, dataset="others", run_id="scheduled__2026-11-20T00:00:00+00:00", batch=1)
    pages = {path: body.decode() for path, body in render(failed, passed).items()}
    assert sorted(pages) == ["datasets/others.html", "datasets/shops.html", "index.html"]
    assert not any(part in page for page in pages.values() for part in (SECRET, "平文太郎", "planted"))
    assert "10000000000000000.00" in pages["datasets/shops.html"]
    assert 'href="datasets/shops.html"' in pages["index.html"]
    assert "4 of 15" in pages["index.html"]
    assert "1 of 1" in pages["index.html"]


def test_a_batch_without_rows_keeps_every_rule_but_a_row_count(frame: DataFrame, make_suite: MakeSuite) -> None:
    verdict = check(frame.where("false"), make_suite(SUITE, dict(frame.dtypes)), dataset="shops", run_id="r", batch=1)
    assert verdict.failures == (
        "expect_table_row_count_to_be_between (rules.yaml:6): the number of rows must be at least 4; it is 0",
    )


def test_datasets_are_checked_side_by_side(spark: SparkSession, make_suite: MakeSuite) -> None:
    suite = make_suite("dataset:\n  - expect_column_max_to_be_between: {column: id, min_value: 0, max_value: 0}")

    def last(rows: int) -> Any:
        frame = spark.range(rows)
        verdict = check(frame, suite, dataset="numbers", run_id="r", batch=rows)
        results: Any = verdict.result["results"]
        return results[0]["result"]["observed_value"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(last, range(1, 9))) == [str(number) for number in range(8)]


def test_nothing_is_cached_and_nothing_is_said(
    frame: DataFrame, make_suite: MakeSuite, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = make_suite(SUITE, dict(frame.dtypes))
    jvm: Any = frame.sparkSession.sparkContext._jsc
    # The JVM is that of earlier tests, too.
    cached = set(jvm.getPersistentRDDs())
    with caplog.at_level(logging.INFO):
        capfd.readouterr()
        check(frame, suite, dataset="shops", run_id="r", batch=1)
        said = capfd.readouterr()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("great_expectations")] == []
    assert "Calculating Metrics" not in said.out + said.err
    assert set(jvm.getPersistentRDDs()) <= cached
