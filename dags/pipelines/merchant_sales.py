"""Daily sales of each merchant, from payments and merchants.

A business day is a day in Asia/Tokyo; `payments.created_at` is a UTC wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

BUSINESS_DATE = "business_date"

_MONEY = "decimal(28,2)"
_FEE = "decimal(28,4)"


def daily(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    """One row a business day, merchant and currency in which the merchant had a payment.

    `sales` is the amount captured, `refunds` the amount refunded, both of the payments' current
    status; `payments` counts payments of any status. `fee` is `sales * fee_rate`, rounded half up to
    four places. A payment of an unknown merchant keeps its row, with name, category and fee NULL.

    Args:
        inputs: `payments` and `merchants` as curated.
        partitions: the days to make, in a column `business_date`; None for all.
    """
    payments = inputs["payments"].withColumn(BUSINESS_DATE, _business_date())
    if partitions is not None:
        payments = payments.join(F.broadcast(partitions.select(BUSINESS_DATE).distinct()), BUSINESS_DATE, "left_semi")
    sums = payments.groupBy(BUSINESS_DATE, "merchant_id", "currency").agg(
        F.count(F.lit(1)).alias("payments"),
        _amount_of("CAPTURED").alias("sales"),
        _amount_of("REFUNDED").alias("refunds"),
    )
    merchants = inputs["merchants"].select("merchant_id", "name", "category", "fee_rate")
    return sums.join(merchants, "merchant_id", "left").select(
        BUSINESS_DATE,
        "merchant_id",
        F.col("name").alias("merchant_name"),
        "category",
        "currency",
        "payments",
        "sales",
        "refunds",
        # Both factors are narrowed first, so that the product keeps all its places until it is rounded.
        F.round(F.col("sales") * F.col("fee_rate").cast("decimal(6,4)"), 4).cast(_FEE).alias("fee"),
    )


def daily_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    """The business days to be made again, in a column `business_date`.

    A changed payment touches the day it is in now and the day it was in; a changed merchant every
    day it has payments on.

    Args:
        changes: per input, the rows changed since the last run, in their old and new versions; an
            input without an entry has not changed.
        inputs: the inputs as curated now.
    """
    payments = inputs["payments"]
    days = payments.select(_business_date()).limit(0)
    if "payments" in changes:
        days = days.union(changes["payments"].select(_business_date()))
    if "merchants" in changes:
        changed = changes["merchants"].select("merchant_id").distinct()
        days = days.union(payments.join(changed, "merchant_id", "left_semi").select(_business_date()))
    return days.distinct()


def _business_date() -> Column:
    """Return the day in Tokyo of a UTC wall clock, for any time zone of the session: wall clocks have none."""
    return F.convert_timezone(F.lit("UTC"), F.lit("Asia/Tokyo"), F.col("created_at")).cast("date").alias(BUSINESS_DATE)


def _amount_of(status: str) -> Column:
    amount = F.when(F.col("status") == status, F.col("amount"))
    return F.coalesce(F.sum(amount), F.lit(0)).cast(_MONEY)
