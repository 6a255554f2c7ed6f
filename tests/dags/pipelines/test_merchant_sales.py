"""Daily sales, against values computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from merchant_sales import daily, daily_partitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

PAYMENT = "payment_id bigint, merchant_id int, amount string, currency string, status string, created_at string"
MERCHANT = "merchant_id int, name string, category string, region string, fee_rate string"


def payments(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), PAYMENT).selectExpr(
        "payment_id",
        "merchant_id",
        "CAST(amount AS decimal(18,2)) AS amount",
        "currency",
        "status",
        "CAST(created_at AS timestamp_ntz) AS created_at",
    )


def merchants(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), MERCHANT).withColumn("fee_rate", _rate())


def _rate() -> Any:
    from pyspark.sql import functions as F

    return F.col("fee_rate").cast("decimal(6,4)")


@pytest.fixture(params=["UTC", "America/New_York"])
def zoned(spark: SparkSession, request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    """Spark with a session time zone that must not matter."""
    before = spark.conf.get("spark.sql.session.timeZone")
    assert before is not None
    spark.conf.set("spark.sql.session.timeZone", request.param)
    yield spark
    spark.conf.set("spark.sql.session.timeZone", before)


def world(spark: SparkSession) -> dict[str, DataFrame]:
    return {
        "payments": payments(
            spark,
            (1, 10, "1000.00", "JPY", "CAPTURED", "2026-11-19 14:59:59.999999"),  # the last moment of the 19th in Tokyo
            (2, 10, "250.50", "JPY", "CAPTURED", "2026-11-19 15:00:00"),  # the first of the 20th
            (3, 10, "99.99", "JPY", "CAPTURED", "2026-11-20 14:59:59.999999"),
            (4, 10, "70.00", "JPY", "REFUNDED", "2026-11-20 01:00:00"),
            (5, 10, "5.00", "JPY", "FAILED", "2026-11-20 02:00:00"),
            (6, 10, "12.34", "USD", "CAPTURED", "2026-11-20 03:00:00"),
            (7, 20, "9999999999999999.99", "JPY", "CAPTURED", "2026-11-20 03:00:00"),
            (8, 20, "9999999999999999.99", "JPY", "CAPTURED", "2026-11-20 04:00:00"),
            (9, 404, "1.00", "JPY", "CAPTURED", "2026-11-20 05:00:00"),
            # America/New_York skips 02:30 on this day; a wall clock does not.
            (10, 30, "3.00", "JPY", "CREATED", "2026-03-08 02:30:00"),
        ),
        "merchants": merchants(
            spark,
            (10, "喫茶 🎁", "food", None, "0.0325"),
            (20, "Big", "retail", "kanto", "0.0001"),
            (30, "New", "food", "kansai", None),
        ),
    }


def test_values(zoned: SparkSession) -> None:
    made = daily(world(zoned), None)
    assert made.dtypes == [
        ("business_date", "date"),
        ("merchant_id", "int"),
        ("merchant_name", "string"),
        ("category", "string"),
        ("currency", "string"),
        ("payments", "bigint"),
        ("sales", "decimal(28,2)"),
        ("refunds", "decimal(28,2)"),
        ("fee", "decimal(28,4)"),
    ]
    of_19, of_20, of_march = date(2026, 11, 19), date(2026, 11, 20), date(2026, 3, 8)
    nothing = Decimal("0.00")
    rows = sorted((tuple(row) for row in made.collect()), key=str)
    expected: list[tuple[Any, ...]] = [
        (of_march, 30, "New", "food", "JPY", 1, nothing, nothing, None),
        (of_19, 10, "喫茶 🎁", "food", "JPY", 1, Decimal("1000.00"), nothing, Decimal("32.5000")),
        # 350.49 * 0.0325 = 11.390925; half up to four places.
        (of_20, 10, "喫茶 🎁", "food", "JPY", 4, Decimal("350.49"), Decimal("70.00"), Decimal("11.3909")),
        # 12.34 * 0.0325 = 0.40105, which is halfway.
        (of_20, 10, "喫茶 🎁", "food", "USD", 1, Decimal("12.34"), nothing, Decimal("0.4011")),
        # 19999999999999999.98 * 0.0001 = 1999999999999.999999998
        (of_20, 20, "Big", "retail", "JPY", 2, Decimal("19999999999999999.98"), nothing, Decimal("2000000000000.0000")),
        (of_20, 404, None, None, "JPY", 1, Decimal("1.00"), nothing, None),
    ]
    assert rows == sorted(expected, key=str)


def test_only_the_partitions_asked_for(spark: SparkSession) -> None:
    days = spark.sql("SELECT DATE'2026-11-19' AS business_date UNION ALL SELECT DATE'2026-11-18'")
    made = daily(world(spark), days)
    assert [(row["business_date"], row["payments"]) for row in made.collect()] == [(date(2026, 11, 19), 1)]


def touched(changes: dict[str, DataFrame], inputs: dict[str, DataFrame]) -> list[date]:
    made = daily_partitions(changes, inputs)
    assert made.columns == ["business_date"]
    return sorted(row["business_date"] for row in made.collect())


def test_a_changed_payment_touches_the_day_it_left_and_the_day_it_is_in(spark: SparkSession) -> None:
    old = (1, 10, "5.00", "JPY", "CAPTURED", "2026-11-18 15:00:00")
    new = (1, 10, "5.00", "JPY", "CAPTURED", "2026-11-20 15:00:00")
    inputs = {**world(spark), "payments": payments(spark, new)}
    days = touched({"payments": payments(spark, old, new)}, inputs)
    assert days == [date(2026, 11, 19), date(2026, 11, 21)]
    partitions = daily_partitions({"payments": payments(spark, old, new)}, inputs)
    # The day it left has no row any more: it is among the partitions, and comes out empty.
    assert [row["business_date"] for row in daily(inputs, partitions).collect()] == [date(2026, 11, 21)]


def test_a_changed_merchant_touches_every_day_it_has_payments_on(spark: SparkSession) -> None:
    inputs = world(spark)
    changed = merchants(spark, (10, "喫茶", "food", None, "0.0100"), (10, "喫茶 🎁", "food", None, "0.0325"))
    assert touched({"merchants": changed}, inputs) == [date(2026, 11, 19), date(2026, 11, 20)]


def test_no_change_touches_nothing(spark: SparkSession) -> None:
    inputs = world(spark)
    assert touched({}, inputs) == []
    assert touched({"payments": inputs["payments"].where("false")}, inputs) == []
