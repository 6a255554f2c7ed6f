"""The keys that a suite's YAML may have, and the message about a mistake in it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connectors.errors import SpecError
from expectations.vocabulary import Between
from tests.support.suites import load_suite

if TYPE_CHECKING:
    from conftest import MakeSuite

COLUMNS = {
    "id": "bigint",
    "amount": "decimal(18,2)",
    "wide": "decimal(38,20)",
    "status": "string",
    "country": "string",
    "created_at": "timestamp_ntz",
    "day": "date",
    "big": "decimal(38,0)",
}

MISTAKES = {
    "unknown section": (
        "row:\n  - expect_column_values_to_not_be_null: {column: id}",
        "rules.yaml:1: unknown key 'row'. Valid: rows, dataset. Did you mean rows?",
    ),
    "repeated section": ("rows: []\nrows: []", "rules.yaml:2: key 'rows' stands twice"),
    "unknown rule": (
        "rows:\n  - expect_column_values_to_be_betwen: {column: id}",
        "Did you mean expect_column_values_to_be_between?",
    ),
    "dataset rule among row rules": (
        "rows:\n  - expect_table_row_count_to_be_between: {min_value: 1}",
        "rules.yaml:2: expect_table_row_count_to_be_between judges the whole batch, not a row",
    ),
    "unknown argument": (
        "rows:\n  - expect_column_values_to_be_between:\n      column: amount\n      min_valu: 0",
        "rules.yaml:4: unknown key 'min_valu' of expect_column_values_to_be_between. "
        "Valid: column, max_value, min_value, strict_max, strict_min. Did you mean min_value?",
    ),
    "missing argument": (
        "rows:\n  - expect_column_values_to_not_be_null: {}",
        "rules.yaml:2: key 'column' of expect_column_values_to_not_be_null is missing. Add column: …",
    ),
    "unknown column": (
        "rows:\n  - expect_column_values_to_not_be_null:\n      column: amont",
        "rules.yaml:3: no column 'amont'. Valid: amount, big, country, created_at, day, id, status, wide. "
        "Did you mean amount?",
    ),
    "no bound": (
        "rows:\n  - expect_column_values_to_be_between: {column: amount}",
        "min_value or max_value must be given",
    ),
    "no value": (
        "dataset:\n  - expect_column_sum_to_be_between: {column: amount, min_value: 3, max_value: 2}",
        "rules.yaml:2: min_value is above max_value",
    ),
    "too many decimals": (
        "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0.001}",
        "rules.yaml:2: the value 0.001 has more decimals than the column's type decimal(18,2) holds",
    ),
    "text for a number": (
        "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: low}",
        "rules.yaml:2: the value 'low' is not a number",
    ),
    "an offset on a wall clock": (
        "rows:\n  - expect_column_values_to_be_between: {column: created_at, min_value: 2026-01-01T00:00:00+09:00}",
        "is a wall clock (timestamp_ntz): leave it out",
    ),
    "YAML's booleans": (
        "rows:\n  - expect_column_values_to_be_in_set: {column: country, value_set: [JP, NO]}",
        "rules.yaml:2: the value False is a boolean in YAML, and the column is string: quote it",
    ),
    "a regex on a number": (
        "rows:\n  - expect_column_values_to_match_regex: {column: id, regex: a}",
        "rules.yaml:2: column 'id' is bigint, and expect_column_values_to_match_regex takes string",
    ),
    "a pair without a common type": (
        "rows:\n  - expect_column_pair_values_to_be_equal: {column_A: big, column_B: wide}",
        "they cannot be compared exactly",
    ),
    "mostly on a row": (
        "rows:\n  - expect_column_values_to_not_be_null: {column: id, mostly: 0.5}",
        "rules.yaml:2: a row keeps a rule or breaks it: mostly is for dataset rules",
    ),
    "a share of more than all": (
        "dataset:\n  - expect_column_values_to_not_be_null: {column: id, mostly: 1.5}",
        "rules.yaml:2: mostly: a share is a number from 0 to 1",
    ),
    "a rule twice": (
        "rows:\n" + 2 * "  - expect_column_values_to_not_be_null: {column: id}\n",
        "rules.yaml:3: this rule occurs twice",
    ),
    "no rule": ("rows: []", "there is no rule"),
    "not YAML": ("rows: [", "rules.yaml:"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_said_with_its_line(make_suite: MakeSuite, text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        make_suite(text, COLUMNS)
    assert message in str(raised.value)
    assert raised.value.where is not None
    assert raised.value.where.startswith("rules.yaml")


def test_a_suite_that_is_not_there_names_those_that_are(make_suite: MakeSuite, tmp_path: Path) -> None:
    make_suite("rows:\n  - expect_column_values_to_not_be_null: {column: id}")
    with pytest.raises(SpecError, match=r"no expectations 'rule'.*Valid: rules\. Did you mean rules\?"):
        load_suite(tmp_path, "rule", None)


def test_numbers_are_read_as_written(make_suite: MakeSuite) -> None:
    suite = make_suite(
        """
        rows:
          - expect_column_values_to_be_between: {column: wide, max_value: 123456789012345678.12345678901234567}
        """,
        COLUMNS,
    )
    rule = suite.rows[0].expectation
    assert isinstance(rule, Between)
    assert rule.max_value == Decimal("123456789012345678.12345678901234567")


def test_the_shipped_suites_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "expectations" / "suites"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    assert names == ["app_events", "balance_entries", "daily_merchant_sales", "merchants", "payments", "settlements"]
    assert all(load_suite(folder, name, None).rows for name in names)
