"""Which partitions a merge looks into: the condition BigQuery prunes by, against values that lie in and outside."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from connectors.bigquery.partitions import MOST_MODIFIED, MOST_SPANS, IntegerRange, Partitioning

NOON = datetime(2026, 11, 20, 12, 30)


@pytest.mark.parametrize(
    ("partitioning", "names", "condition"),
    [
        (
            Partitioning("at", "DATETIME"),
            [NOON.replace(hour=0, minute=0), datetime(2026, 11, 21), datetime(2026, 11, 23)],
            "(c >= DATETIME '2026-11-20' AND c < DATETIME '2026-11-22') OR "
            "(c >= DATETIME '2026-11-23' AND c < DATETIME '2026-11-24')",
        ),
        (
            Partitioning("at", "DATETIME", "HOUR"),
            [datetime(2026, 11, 20, 23)],
            "(c >= DATETIME '2026-11-20 23:00:00' AND c < DATETIME '2026-11-21 00:00:00')",
        ),
        (
            Partitioning("at", "TIMESTAMP", "HOUR"),
            [datetime(2026, 11, 20, 0, tzinfo=UTC)],
            "(c >= TIMESTAMP '2026-11-20 00:00:00+00' AND c < TIMESTAMP '2026-11-20 01:00:00+00')",
        ),
        (
            Partitioning("day", "DATE", "MONTH"),
            [date(2026, 12, 1), date(2027, 1, 1), None],
            "(c >= DATE '2026-12-01' AND c < DATE '2027-02-01') OR c IS NULL",
        ),
        (Partitioning("day", "DATE", "YEAR"), [date(9999, 1, 1)], "(c >= DATE '9999-01-01')"),
        (Partitioning("at", "DATETIME"), [datetime(9999, 12, 31)], "(c >= DATETIME '9999-12-31')"),
        (Partitioning("day", "DATE"), [None], "c IS NULL"),
        (Partitioning("day", "DATE"), [], None),
        (Partitioning("n", "INT64", integers=IntegerRange(0, 95, 10)), [-1], "(c < 0)"),
        (Partitioning("n", "INT64", integers=IntegerRange(0, 95, 10)), [9], "(c >= 90 AND c < 95)"),
        (Partitioning("n", "INT64", integers=IntegerRange(0, 95, 10)), [10], "(c >= 95)"),
        (Partitioning("n", "INT64", integers=IntegerRange(-5, 95, 10)), [0, 1, 4], "(c >= -5 AND c < 15) OR "
         "(c >= 35 AND c < 45)"),
        (Partitioning("n", "INT64", integers=IntegerRange(0, 10, 10)), [-1, 0, 1], "(c IS NOT NULL)"),
    ],
)  # fmt: skip
def test_partitions_are_ranges_of_literals(partitioning: Partitioning, names: list[Any], condition: str) -> None:
    assert partitioning.scan_condition(names, "c") == condition


def test_more_ranges_than_a_statement_bears_are_widened_not_left_out() -> None:
    first = date(2000, 1, 1)
    # A far day at each end: their gaps are the widest, so they stay ranges of their own.
    days = [date(1990, 1, 1), *(first + timedelta(days=3 * n) for n in range(1000)), date(2030, 1, 1)]
    condition = Partitioning("day", "DATE").scan_condition(days, "c")
    assert condition is not None
    tree = sqlglot.parse_one(condition, dialect="bigquery")
    starts = sorted(date.fromisoformat(node.expression.find(exp.Literal).this) for node in tree.find_all(exp.GTE))
    ends = sorted(date.fromisoformat(node.expression.find(exp.Literal).this) for node in tree.find_all(exp.LT))
    assert len(starts) <= MOST_SPANS
    assert all(any(start <= day < end for start, end in zip(starts, ends, strict=True)) for day in days)
    assert (starts[0], ends[0], starts[-1]) == (date(1990, 1, 1), date(1990, 1, 2), date(2030, 1, 1))


@pytest.mark.parametrize(
    ("partitioning", "names"),
    [
        (Partitioning("day", "DATE"), [None, *(date(1990, 1, 1) + timedelta(days=2 * n) for n in range(1_200))]),
        (Partitioning("day", "DATE"), [date(1990, 1, 1) + timedelta(days=n) for n in range(9_000)]),
        (Partitioning("day", "DATE", "MONTH"), [None, date(2020, 1, 1), date(2020, 3, 1)]),
        (Partitioning("day", "DATE"), [None]),
        (Partitioning("day", "DATE"), []),
    ],
    ids=["alternate days", "25 years", "months", "nulls", "none"],
)
def test_conditions_to_delete_by_name_each_partition_once_and_no_other(
    partitioning: Partitioning, names: list[Any]
) -> None:
    months = partitioning.granularity == "MONTH"
    found: list[Any] = []
    for condition in partitioning.conditions(names, "c"):
        tree = sqlglot.parse_one(condition, dialect="bigquery")
        starts = [date.fromisoformat(node.expression.find(exp.Literal).this) for node in tree.find_all(exp.GTE)]
        ends = [date.fromisoformat(node.expression.find(exp.Literal).this) for node in tree.find_all(exp.LT)]
        assert len(starts) <= MOST_SPANS
        days = [
            start + timedelta(days=n)
            for start, end in zip(starts, ends, strict=True)
            for n in range((end - start).days)
            if not months or (start + timedelta(days=n)).day == 1
        ]
        assert len(days) <= MOST_MODIFIED
        found += [*days, *([None] if tree.find(exp.Is) else [])]
    assert sorted(map(str, found)) == sorted(map(str, names))


def test_names_come_in_groups_that_one_statement_may_modify() -> None:
    by_hour = Partitioning("at", "TIMESTAMP", "HOUR")
    hours = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(9_000)]
    groups = by_hour.grouped([*reversed(hours), None])
    assert [len(group) for group in groups] == [4_000, 4_000, 1_001]
    assert [name for group in groups for name in group] == [None, *hours]
    assert by_hour.among([*groups[2][:2], None], "c") == (
        "TIMESTAMP_TRUNC(c, HOUR) IN (TIMESTAMP '2020-11-29 07:00:00+00', TIMESTAMP '2020-11-29 08:00:00+00') "
        "OR c IS NULL"
    )
    integers = Partitioning("n", "INT64", integers=IntegerRange(0, 95, 10))
    assert integers.among([-1, 9], "c").endswith(" END IN (-1, 9)")
