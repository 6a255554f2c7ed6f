"""The load stage against the BigQuery emulator, from a raw table as check leaves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.errors import (
    LoadRefused,
    SpecError,
)
from tests.support.load_world import EVENTS, KAFKA, NOON, SALES, World, payment

MakeWorld = Callable[..., World]


def test_every_value_arrives_as_it_was(world: World) -> None:
    first = payment(
        1,
        "-9999999999999999.99",
        memo='寿司 🍣 it\'s "raw"\\\n',
        paid_at=datetime(2026, 11, 20, 3, 4, 5, 678000, tzinfo=UTC),
        created_at=datetime(1970, 1, 1, 0, 0, 0, 1),
        updated_at=datetime(2026, 3, 29, 2, 30),
    )
    second = payment(9223372036854775807, "0.10", merchant_id=-2147483648, memo="")
    world.publish([first, second], run_id="scheduled__2026-11-20T00:00:00+00:00 'x'")

    receipt = world.load("scheduled__2026-11-20T00:00:00+00:00 'x'")

    lineage = {"_run_id": "scheduled__2026-11-20T00:00:00+00:00 'x'", "_batch": 1}
    assert world.rows("payment_id") == [{**first, **lineage}, {**second, **lineage}]
    assert world.ledger() == [(1, "scheduled__2026-11-20T00:00:00+00:00 'x'", 2)]
    assert world.staging_tables() == []
    assert (receipt.verdict, receipt.batch, receipt.published, receipt.loaded, receipt.warehouse_rows) == (
        "done",
        1,
        2,
        2,
        2,
    )
    assert receipt.bytes is not None
    assert receipt.bytes > 0


def test_the_table_is_laid_out_as_the_spec_says(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at", "cluster_by": ["merchant_id"]})
    world.publish([payment(1)])
    world.load()

    table = world.client.get_table(world.table)
    assert table.time_partitioning.field == "created_at"
    assert table.time_partitioning.type_ == "DAY"
    assert table.clustering_fields == ["merchant_id"]
    assert table.description == "One row a payment"
    assert table.labels["lakeferry_pipeline"] == "payments"
    assert [(f.name, f.field_type) for f in table.schema] == [
        ("payment_id", "INT64"),
        ("merchant_id", "INT64"),
        ("amount", "NUMERIC"),
        ("memo", "STRING"),
        ("paid_at", "TIMESTAMP"),
        ("created_at", "DATETIME"),
        ("updated_at", "DATETIME"),
        ("_run_id", "STRING"),
        ("_batch", "INT64"),
    ]


def test_merge_never_brings_back_an_older_version(world: World) -> None:
    later, earlier = NOON.replace(hour=13), NOON.replace(hour=11)
    world.publish([payment(1), payment(2), payment(3), payment(4, updated_at=None), payment(5)])
    world.load()
    world.publish(
        [
            payment(1, "2.00", updated_at=later),
            payment(2, "2.00", updated_at=earlier),
            payment(3, "2.00"),
            payment(4, "2.00", updated_at=earlier),
            payment(5, "2.00", updated_at=None),
            payment(6, "2.00"),
        ]
    )
    world.load()

    # 3 has the same version in a later batch, which is the newer reading of it.
    assert world.amounts() == {1: "2.00", 2: "1.00", 3: "2.00", 4: "2.00", 5: "1.00", 6: "2.00"}


def test_merge_takes_the_newest_of_one_key_in_one_batch(world: World) -> None:
    world.publish(
        [payment(1, "3.00", updated_at=NOON.replace(hour=13)), payment(1), payment(1, "2.00", updated_at=None)]
    )
    receipt = world.load()

    assert world.amounts() == {1: "3.00"}
    assert (receipt.loaded, receipt.warehouse_rows) == (3, 1)


def test_batches_nobody_loaded_are_brought_in_order(world: World) -> None:
    world.publish([payment(1), payment(2)])
    world.publish([payment(2, "2.00"), payment(3, "2.00")])
    world.publish([])

    receipt = world.load("run 3")

    assert world.amounts() == {1: "1.00", 2: "2.00", 3: "2.00"}
    assert world.ledger() == [(3, "run 3", 0)]
    assert receipt.details.batches == [1, 2, 3]
    assert (receipt.published, receipt.loaded) == (4, 4)


def test_nothing_new_moves_nothing(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    before = world.client.get_table(world.table).etag

    receipt = world.load("another run")

    assert (receipt.verdict, receipt.loaded, receipt.warehouse_rows) == ("empty", 0, 1)
    assert world.client.get_table(world.table).etag == before


def test_before_the_first_batch_there_is_nothing_to_load(world: World) -> None:
    receipt = world.load("run 1")
    assert (receipt.verdict, receipt.loaded) == ("empty", 0)


def test_a_first_batch_without_rows_makes_the_table(world: World) -> None:
    world.publish([])
    receipt = world.load()
    assert world.rows() == []
    assert world.ledger() == [(1, "run 1", 0)]
    assert (receipt.verdict, receipt.loaded) == ("done", 0)


def event_row(offset: int, event_id: str, partition: int = 0) -> dict[str, Any]:
    when = datetime(2026, 11, 20, 1, 2, 3, 456000, tzinfo=UTC)
    return {
        "event_id": event_id,
        "occurred_at": when,
        "_kafka_partition": partition,
        "_kafka_offset": offset,
        "_kafka_timestamp": when,
    }


def test_append_adds_a_row_once_by_the_place_it_came_from(world_of: MakeWorld) -> None:
    options = {"topic": "app_events", "format": "json", "columns": {"event_id": "string", "occurred_at": "timestamp"}}
    world = world_of(
        columns=EVENTS, source=KAFKA, dataset={"write_disposition": "append", "primary_key": [], "options": options}
    )
    world.publish([event_row(0, "a"), event_row(1, "b"), event_row(0, "c", partition=1)])
    world.load()
    world.publish([event_row(1, "b"), event_row(2, "a")])
    world.load()

    assert world.values(
        f"SELECT _kafka_partition, _kafka_offset, event_id, _batch FROM {world.table} ORDER BY 1, 2"
    ) == [
        (0, 0, "a", 1),
        (0, 1, "b", 1),
        (0, 2, "a", 2),
        (1, 0, "c", 1),
    ]


def test_an_append_that_could_double_is_refused(world_of: MakeWorld) -> None:
    world = world_of(dataset={"write_disposition": "append", "primary_key": []})
    world.publish([payment(1)])
    with pytest.raises(SpecError, match=r"payments\.yaml pipeline payments dataset \S+: .*append needs a primary_key"):
        world.load()


def test_replace_keeps_the_newest_batch_only(world_of: MakeWorld) -> None:
    world = world_of(dataset={"write_disposition": "replace"})
    world.publish([payment(1), payment(2)])
    world.load()
    world.publish([payment(3)])
    world.publish([payment(4), payment(5)])
    receipt = world.load()

    assert sorted(world.amounts()) == [4, 5]
    assert world.ledger() == [(3, "run 3", 2)]
    assert (receipt.details.batches, receipt.details.passed_over, receipt.loaded) == ([3], [2], 2)

    world.publish([])
    world.load()
    assert world.rows() == []


def sale(day: int, merchant: int | None, sales: str) -> dict[str, Any]:
    return {"business_date": date(2026, 11, day), "merchant_id": merchant, "sales": Decimal(sales)}


@pytest.fixture
def sales(world_of: MakeWorld) -> World:
    dataset = {
        "primary_key": ["business_date", "merchant_id"],
        "write_disposition": "overwrite_partitions",
        "inputs": ["payments"],
        "transform": "merchant_sales:daily",
        "options": {},
    }
    return world_of(columns=SALES, source=None, dataset=dataset, bigquery_spec={"partition_by": "business_date"})


def test_overwritten_partitions_empty_and_their_neighbours_stay(sales: World) -> None:
    days = ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"]
    sales.publish(
        [sale(18, 1, "1"), sale(19, 1, "1"), sale(19, 2, "1"), sale(20, 1, "1"), sale(21, 1, "1")], partitions=days
    )
    sales.load()
    sales.publish([sale(19, None, "2")], partitions=["2026-11-19", "2026-11-20"])
    sales.load()

    query = f"SELECT business_date, merchant_id, sales FROM {sales.table} ORDER BY 1, 2"
    assert sales.values(query) == [
        (date(2026, 11, 18), 1, Decimal(1)),
        (date(2026, 11, 19), None, Decimal(2)),
        (date(2026, 11, 21), 1, Decimal(1)),
    ]
    sales.publish([], partitions=["2026-11-18"])
    sales.load()
    assert [row[0].day for row in sales.values(query)] == [19, 21]


def test_rows_outside_the_partitions_of_their_batch_are_refused(sales: World) -> None:
    sales.publish([sale(19, 1, "1"), sale(20, 1, "1")], partitions=["2026-11-19"])
    with pytest.raises(LoadRefused, match=r"1 rows of batch 1 lie outside .*business_date in 2026-11-19"):
        sales.load()
    assert sales.rows() == []
    assert sales.ledger() == [(0, None, 0)]
