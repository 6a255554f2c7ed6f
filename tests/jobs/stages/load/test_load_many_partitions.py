"""Batches of more partitions than one statement takes: a DELETE names its days and no others, a change is split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.bigquery import partitions
from connectors.errors import LoadRefused
from tests.support.bigquery_contract import partitions_a_job
from tests.support.faulty_endpoint import endpoint
from tests.support.load_world import NOON, SALES, World, payment

MakeWorld = Callable[..., World]
FIRST = date(2020, 1, 1)
OVERWRITTEN = {
    "primary_key": ["business_date", "merchant_id"],
    "write_disposition": "overwrite_partitions",
    "inputs": ["payments"],
    "transform": "merchant_sales:daily",
    "options": {},
}


def sold(day: date, sales: str = "1.00") -> dict[str, Any]:
    return {"business_date": day, "merchant_id": 1, "sales": Decimal(sales)}


def by_day(world: World) -> dict[date, str]:
    return {row["business_date"]: f"{row['sales']:.2f}" for row in world.rows()}


def names_of(days: Sequence[date]) -> list[str]:
    return [day.isoformat() for day in days]


def test_alternate_days_are_replaced_and_those_between_them_stay(world_of: MakeWorld) -> None:
    world = world_of(source=None, columns=SALES, dataset=OVERWRITTEN, bigquery_spec={"partition_by": "business_date"})
    days = [FIRST + timedelta(days=number) for number in range(1_001)]
    world.publish([sold(day) for day in days], partitions=names_of(days))
    world.load()
    replaced, emptied = days[::2], days[::4]
    assert len(replaced) == 501
    now = [sold(day, "2.00") for day in replaced if day not in emptied]
    world.publish(now, partitions=names_of(replaced))
    world.load()

    expected = dict.fromkeys(days[1::2], "1.00") | dict.fromkeys(days[2::4], "2.00")
    assert by_day(world) == expected

    # A row between two of the days is outside of them: it would be there twice.
    world.publish([sold(day) for day in replaced[:600]] + [sold(days[501])], partitions=names_of(replaced))
    with pytest.raises(LoadRefused, match="1 rows of batch 3 lie outside"):
        world.load()
    assert by_day(world) == expected


@pytest.fixture
def three_a_job(monkeypatch: pytest.MonkeyPatch) -> int:
    """4,000 days are many for a test: the service it talks to takes three, and so must what is tested."""
    monkeypatch.setattr(partitions, "MOST_MODIFIED", 3)
    return 3


def loaded(world: World, column: str, allowed: int) -> list[str]:
    """Load through a service that takes so many partitions a job; the kinds of the statements it ran."""
    sent: list[str] = []

    def count(query: str) -> int:
        return int(world.values(query)[0][0])

    upstream = str(world.settings.warehouse_endpoint)
    with endpoint(upstream, partitions_a_job(count, column, allowed, sent)) as address:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    return sent


def test_a_merge_of_more_partitions_than_a_job_takes_is_split(world_of: MakeWorld, three_a_job: int) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    days = [NOON.replace(day=day) for day in range(1, 9)]
    # Two versions of one key in two partitions: the newer one is chosen among all, not in each partition.
    later = NOON.replace(hour=13)
    world.publish([*(payment(n, created_at=day) for n, day in enumerate(days)), payment(7, "7.00", updated_at=later)])
    assert loaded(world, "created_at", three_a_job) == ["MERGE", "MERGE", "MERGE"]
    assert world.amounts() == {**dict.fromkeys(range(7), "1.00"), 7: "7.00"}
    assert [row["created_at"].day for row in world.rows("payment_id")] == [1, 2, 3, 4, 5, 6, 7, 20]

    # The rows come into five partitions, out of five others.
    moved = [payment(n, "2.00", created_at=NOON.replace(day=20 + n), updated_at=later) for n in range(5)]
    world.publish(moved)
    assert set(loaded(world, "created_at", three_a_job)) == {"MERGE"}
    assert [row["created_at"].day for row in world.rows("payment_id")] == [20, 21, 22, 23, 24, 6, 7, 20]
    assert world.amounts() == {**dict.fromkeys(range(5), "2.00"), 5: "1.00", 6: "1.00", 7: "7.00"}


def test_rows_of_one_partition_that_come_from_too_many_are_refused(world_of: MakeWorld, three_a_job: int) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(n, created_at=NOON.replace(day=1 + n)) for n in range(4)])
    loaded(world, "created_at", three_a_job)
    world.publish([payment(n, "2.00", updated_at=NOON.replace(hour=13)) for n in range(4)])
    with pytest.raises(LoadRefused, match=r"one partition of \S+ come from 4 others.* at most 3.*granularity"):
        loaded(world, "created_at", three_a_job)
    assert world.amounts() == dict.fromkeys(range(4), "1.00")


@pytest.mark.parametrize("disposition", ["append", "replace", "overwrite_partitions"])
def test_other_changes_are_split_likewise(world_of: MakeWorld, three_a_job: int, disposition: str) -> None:
    world = world_of(
        source=None,
        columns=SALES,
        dataset={**OVERWRITTEN, "write_disposition": disposition},
        bigquery_spec={"partition_by": "business_date"},
    )
    days = [FIRST + timedelta(days=number) for number in range(7)]
    for sales in ("1.00", "2.00"):
        world.publish([sold(day, sales) for day in days], partitions=names_of(days))
        sent = loaded(world, "business_date", three_a_job)
        assert len(sent) == {"append": 3, "replace": 3, "overwrite_partitions": 6}[disposition]
    assert by_day(world) == dict.fromkeys(days, "1.00" if disposition == "append" else "2.00")
