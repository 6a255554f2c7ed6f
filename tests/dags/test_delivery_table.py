"""How many deliveries read in a log."""

from __future__ import annotations

from lakeferry_airflow.deliveries import Delivery
from lakeferry_airflow.delivery_table import table_lines


def test_failures_come_last_and_what_is_alike_is_one_line() -> None:
    others = [Delivery(f"d{number:02}", "nothing", "it was not asked for") for number in range(12)]
    deliveries = [
        Delivery("merchants", "failed", "check of dataset merchants failed: no\nmore", read=3, seconds=61.04),
        Delivery("payments", "delivered", "it was delivered", batch=7, read=12000, published=11999, quarantined=1),
        Delivery("countries", "nothing", "nothing new"),
        *others,
    ]
    assert table_lines(deliveries) == [
        "1 × nothing new: countries",
        "12 × it was not asked for: d00, d01, d02, d03, d04, d05, d06, d07, d08, d09 and 2 more",
        "dataset    state      batch    read  published  quarantined  loaded  seconds  why",
        "payments   delivered      7  12,000     11,999            1              0.0",
        "merchants  failed                 3                                     61.0  "
        "check of dataset merchants failed: no",
    ]


def test_a_table_of_nothing_has_no_headings() -> None:
    assert table_lines([Delivery("a", "nothing", "nothing new")]) == ["1 × nothing new: a"]
