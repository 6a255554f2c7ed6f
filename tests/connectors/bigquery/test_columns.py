"""The lake's columns in BigQuery, and the columns that are refused before anything moves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from connectors.base import Column
from connectors.bigquery import check_warehouse
from connectors.bigquery.columns import warehouse_columns, warehouse_type
from connectors.errors import ObjectNotFound, SpecError, UnsupportedType


@pytest.mark.parametrize(
    ("spark", "bigquery"),
    [
        ("bigint", "INT64"),
        ("tinyint", "INT64"),
        ("double", "FLOAT64"),
        ("string", "STRING"),
        ("varchar(20)", "STRING"),
        ("binary", "BYTES"),
        ("boolean", "BOOL"),
        ("date", "DATE"),
        ("timestamp", "TIMESTAMP"),
        ("timestamp_ntz", "DATETIME"),
        ("decimal(18,2)", "NUMERIC"),
        ("decimal(20,0)", "NUMERIC"),
        ("decimal(38,9)", "NUMERIC"),
        ("decimal(30,0)", "BIGNUMERIC"),
        ("decimal(18,10)", "BIGNUMERIC"),
        ("decimal(38,38)", "BIGNUMERIC"),
        ("array<int>", None),
        ("interval day", None),
    ],
)
def test_types(spark: str, bigquery: str | None) -> None:
    assert warehouse_type(spark) == bigquery


def columns(**types: str) -> list[Column]:
    return [Column(name=name, source_type="any", spark_type=kind) for name, kind in types.items()]


def test_a_fitting_layout_is_accepted() -> None:
    check_warehouse(
        "shop.payments", "created_at", ["merchant_id"], columns(merchant_id="int", created_at="timestamp_ntz")
    )


def test_an_unknown_column_is_named_with_those_that_would_do() -> None:
    with pytest.raises(ObjectNotFound) as refused:
        check_warehouse("shop.payments", "created", [], columns(id="int", created_at="timestamp_ntz", day="date"))
    assert str(refused.value) == (
        "bigquery.partition_by names 'created', which is not a column of the dataset for shop.payments. "
        "Valid: created_at, day."
    )


def test_a_column_of_a_wrong_type_is_named() -> None:
    with pytest.raises(SpecError, match=r"partition_by names 'id', which is INT64 .* DATE, DATETIME, TIMESTAMP"):
        check_warehouse("shop.payments", "id", [], columns(id="int"))
    with pytest.raises(SpecError, match="cluster_by names 'rate', which is FLOAT64"):
        check_warehouse("shop.payments", None, ["rate"], columns(rate="double"))


def test_hours_need_a_time_and_ranges_an_integer() -> None:
    with pytest.raises(SpecError, match=r"partition_by names 'day', which is DATE .* DATETIME, TIMESTAMP"):
        check_warehouse("shop.payments", "day", [], columns(day="date"), granularity="HOUR")
    with pytest.raises(SpecError, match=r"partition_by names 'at', which is DATETIME in BigQuery; it takes INT64"):
        check_warehouse("shop.payments", "at", [], columns(at="timestamp_ntz"), integers=True)
    check_warehouse("shop.payments", "id", [], columns(id="bigint", memo="string"), integers=True, tagged=["memo"])


def test_what_bigquery_cannot_hold_is_refused() -> None:
    with pytest.raises(UnsupportedType, match="column 'tags' is array<string>"):
        check_warehouse("shop.payments", None, [], columns(tags="array<string>"))
    with pytest.raises(UnsupportedType, match=r"column name .aaa.*at most 300 characters"):
        check_warehouse("shop.payments", None, [], columns(**{"a" * 301: "int"}))
    with pytest.raises(UnsupportedType, match="'a-b' and 'a b' have one name"):
        check_warehouse("shop.payments", None, [], columns(**{"a-b": "int", "a b": "int"}))
    with pytest.raises(UnsupportedType, match="'Id' and 'ID' have one name"):
        check_warehouse("shop.payments", None, [], columns(Id="int", ID="int"))


def test_letters_of_any_language_stay_and_anything_else_is_an_underscore() -> None:
    names = {"金額": "金額", "pay day": "pay_day", "a`b": "a_b", "1st": "_1st", "été": "été"}
    found = warehouse_columns([(name, "int", None) for name in names])
    assert {column.lake_name: column.name for column in found} == names
    assert all(column.staged_name.isascii() for column in found)


def test_names_bigquery_keeps_for_itself_get_another() -> None:
    found = warehouse_columns([("_partition", "int", None), ("_offset", "bigint", None)])
    assert [(column.lake_name, column.name) for column in found] == [
        ("_partition", "lake_partition"),
        ("_offset", "_offset"),
    ]


@pytest.mark.services
def test_plan_needs_no_client_to_ask() -> None:
    code = "import sys, connectors.bigquery; sys.exit(any(m.startswith('google.cloud') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
