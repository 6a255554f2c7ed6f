"""Each kind of row rule on good, bad and NULL values: as a Spark predicate, and in Great Expectations."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from connectors.errors import SpecError
from expectations.row_rules import rejection
from expectations.runner import check

if TYPE_CHECKING:
    from conftest import MakeSuite
    from pyspark.sql import DataFrame, SparkSession

TYPES = {
    "id": "int",
    "amount": "decimal(18,2)",
    "cap": "decimal(20,4)",
    "code": "string",
    "big": "bigint",
    "ratio": "double",
    "day": "date",
    "wall": "timestamp_ntz",
    "moment": "timestamp",
    "flag": "boolean",
}
MAX = Decimal("9999999999999999.99")

EVE = (2025, 12, 31)
NAN = float("nan")
ROWS: list[tuple[Any, ...]] = [
    (1, Decimal("0.00"), Decimal("0.0000"), "JPY", 2**53 + 1, 0.1, date(2026, 1, 1), (2026, 1, 1), (2026, 1, 1), True),
    (
        2,
        Decimal("-0.01"),
        Decimal("0.0000"),
        "jpy",
        2**53,
        NAN,
        date(2025, 12, 31),
        (2025, 12, 31),
        (2025, 12, 31),
        False,
    ),
    (3, MAX, Decimal("0.0001"), "山田🎁", 2**63 - 1, 1e300, date(9999, 12, 31), (9999, 12, 31), (2030, 1, 1), True),
    (4, MAX - Decimal("0.01"), None, "", -(2**63), -0.1, date(2026, 1, 2), (2026, 1, 2), (2026, 1, 2), None),
    (5, None, None, None, None, None, None, None, None, None),
]

# The rule, the ids of the rows that break it, and what is said of them. Row 5 is all NULL.
RULES: list[tuple[str, list[int], str]] = [
    ("expect_column_values_to_not_be_null: {column: amount}", [5], "amount must not be NULL"),
    ("expect_column_values_to_be_null: {column: cap}", [1, 2, 3], "cap must be NULL"),
    ("expect_column_values_to_be_between: {column: amount, min_value: 0}", [2], "amount must be at least 0"),
    ('expect_column_values_to_be_between: {column: amount, min_value: "0.00"}', [2], "amount must be at least 0.00"),
    (
        "expect_column_values_to_be_between: {column: amount, min_value: 0, strict_min: true}",
        [1, 2],
        "amount must be more than 0",
    ),
    (
        "expect_column_values_to_be_between: {column: amount, max_value: 9999999999999999.98}",
        [3],
        "amount must be at most 9999999999999999.98",
    ),
    (
        "expect_column_values_to_be_between: {column: amount, max_value: 9999999999999999.99, strict_max: true}",
        [3],
        "amount must be less than 9999999999999999.99",
    ),
    (
        "expect_column_values_to_be_between: "
        "{column: big, min_value: 9007199254740993, max_value: 9223372036854775806}",
        [2, 3, 4],
        "big must be at least 9007199254740993 and at most 9223372036854775806",
    ),
    ("expect_column_values_to_be_between: {column: ratio, min_value: 0.1, max_value: 1}", [2, 3, 4],
     "ratio must be at least 0.1 and at most 1"),
    ("expect_column_values_to_be_between: {column: day, min_value: 2026-01-01, max_value: 2026-01-01}", [2, 3, 4],
     "day must be at least 2026-01-01 and at most 2026-01-01"),
    ("expect_column_values_to_be_between: {column: wall, min_value: 2026-01-01T00:00:00}", [2],
     "wall must be at least 2026-01-01T00:00:00"),
    ("expect_column_values_to_be_between: {column: moment, min_value: 2026-01-01T09:00:00+09:00}", [2],
     "moment must be at least 2026-01-01T09:00:00+09:00"),
    ("expect_column_values_to_be_in_set: {column: code, value_set: [JPY, USD]}", [2, 3, 4],
     "code must be one of JPY, USD"),
    ("expect_column_values_to_be_in_set: {column: amount, value_set: [0, -0.01, 9999999999999999.99]}", [4],
     "amount must be one of 0, -0.01, 9999999999999999.99"),
    ("expect_column_values_to_be_in_set: {column: flag, value_set: [true]}", [2], "flag must be one of true"),
    ("expect_column_values_to_be_in_set: {column: wall, value_set: [2026-01-01, 2026-01-02]}", [2, 3],
     "wall must be one of 2026-01-01, 2026-01-02"),
    ("expect_column_values_to_not_be_in_set: {column: code, value_set: [jpy, 山田🎁]}", [2, 3],
     "code must not be one of jpy, 山田🎁"),
    ('expect_column_values_to_match_regex: {column: code, regex: "^[A-Z]{3}$"}', [2, 3, 4],
     "code must match ^[A-Z]{3}$"),
    (r"expect_column_values_to_not_match_regex: {column: code, regex: '\p{IsHan}'}", [3],
     r"code must not match \p{IsHan}"),
    ("expect_column_value_lengths_to_be_between: {column: code, min_value: 1, max_value: 2}", [1, 2, 3, 4],
     "code must be at least 1 and at most 2 characters long"),
    ("expect_column_value_lengths_to_equal: {column: code, value: 3}", [4], "code must be 3 characters long"),
    ("expect_column_pair_values_a_to_be_greater_than_b: {column_A: cap, column_B: amount}", [1, 3],
     "cap must be more than amount"),
    ("expect_column_pair_values_a_to_be_greater_than_b: {column_A: cap, column_B: amount, or_equal: true}", [3],
     "cap must be at least amount"),
    ("expect_column_pair_values_to_be_equal: {column_A: cap, column_B: amount}", [2, 3], "cap must equal amount"),
]  # fmt: skip


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    names = list(TYPES)
    text = []
    for row in ROWS:
        values = dict(zip(names, row, strict=True))
        for name in ("wall", "moment"):
            if values[name] is not None:
                moment = datetime(*values[name], tzinfo=UTC)
                values[name] = f"{moment:%Y-%m-%d %H:%M:%S}" + ("Z" if name == "moment" else "")
        text.append([None if value is None else str(value) for value in values.values()])
    raw = spark.createDataFrame(text, ", ".join(f"{name} string" for name in names))
    return raw.select(*[F.col(name).cast(kind).alias(name) for name, kind in TYPES.items()])


def test_predicates(frame: DataFrame, make_suite: MakeSuite) -> None:
    reasons = [
        rejection(make_suite(f"rows:\n  - {rule}", TYPES), TYPES).alias(f"r{index}")
        for index, (rule, _, _) in enumerate(RULES)
    ]
    found = frame.select("id", *reasons).orderBy("id").collect()
    for index, (rule, bad, reason) in enumerate(RULES):
        assert {row["id"]: row[f"r{index}"] for row in found} == {
            number: reason if number in bad else None for number in range(1, 6)
        }, rule


def test_great_expectations_agrees(frame: DataFrame, make_suite: MakeSuite) -> None:
    text = "dataset:\n" + "".join(f"  - {rule}\n" for rule, _, _ in RULES)
    verdict = check(frame, make_suite(text, TYPES), dataset="values", run_id="run", batch=1)
    results: Any = verdict.result["results"]
    found = {rule: result["result"]["unexpected_count"] for (rule, _, _), result in zip(RULES, results, strict=True)}
    assert found == {rule: len(bad) for rule, bad, _ in RULES}
    assert [result["success"] for result in results] == [not bad for _, bad, _ in RULES]


def test_reasons_are_joined_and_what_is_left_passes(frame: DataFrame, make_suite: MakeSuite) -> None:
    suite = make_suite(
        """
        rows:
          - expect_column_values_to_be_between: {column: amount, min_value: 0}
          - expect_column_values_to_match_regex: {column: code, regex: "^[A-Z]{3}$"}
          - expect_column_values_to_not_be_null: {column: code}
        """,
        TYPES,
    )
    judged = frame.select("*", rejection(suite, TYPES).alias("reason")).localCheckpoint()
    assert {row["id"]: row["reason"] for row in judged.collect()} == {
        1: None,
        2: "amount must be at least 0; code must match ^[A-Z]{3}$",
        3: "code must match ^[A-Z]{3}$",
        4: "code must match ^[A-Z]{3}$",
        5: "code must not be NULL",
    }
    verdict = check(judged.where("reason IS NULL"), suite, dataset="values", run_id="run", batch=1)
    assert verdict.success
    assert verdict.failures == ()


def test_no_row_rule_rejects_nothing(frame: DataFrame, make_suite: MakeSuite) -> None:
    suite = make_suite("dataset:\n  - expect_table_row_count_to_be_between: {min_value: 1}", TYPES)
    assert frame.where(rejection(suite, TYPES).isNotNull()).count() == 0


def test_a_regex_java_cannot_read(spark: SparkSession, make_suite: MakeSuite) -> None:
    suite = make_suite("rows:\n  - expect_column_values_to_match_regex: {column: code, regex: 'a('}", TYPES)
    with pytest.raises(SpecError, match=r"rules.yaml:2: regex 'a\(' is not a Java regular expression: Unclosed group"):
        rejection(suite, TYPES)
