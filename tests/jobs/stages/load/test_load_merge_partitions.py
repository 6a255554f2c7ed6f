"""A merge looks into the partitions it must, and a row that moves between them stays one row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tests.support.load_world import NOON, World, payment
from tests.support.merge_reading import days_in, merges_of

MakeWorld = Callable[..., World]


def test_a_merge_looks_into_the_days_of_new_rows_and_those_their_keys_live_in(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    days = [NOON.replace(day=day) for day in (1, 5, 10, 11)]
    world.publish([payment(number, created_at=day) for number, day in enumerate(days)])
    world.load()
    # 0 moves from the 1st to the 20th, 1 stays on the 5th, 9 is new; nothing looks at the 10th and 11th.
    world.publish(
        [payment(0, "2.00"), payment(1, "2.00", created_at=days[1]), payment(9, created_at=NOON.replace(day=21))]
    )
    (merge,) = merges_of(world)

    assert days_in(merge, "created_at") == [
        ("2026-11-01", "2026-11-02"),
        ("2026-11-05", "2026-11-06"),
        ("2026-11-20", "2026-11-22"),
    ]
    assert world.amounts() == {0: "2.00", 1: "2.00", 2: "1.00", 3: "1.00", 9: "1.00"}
    assert [row["created_at"].day for row in world.rows("payment_id")] == [20, 5, 10, 11, 21]


def test_a_row_that_leaves_or_enters_the_partition_of_nulls_stays_one_row(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "paid_at"})
    paid = datetime(2026, 11, 20, 3, tzinfo=UTC)
    world.publish([payment(1, paid_at=None), payment(2, paid_at=paid)])
    world.load()
    world.publish([payment(1, "2.00", paid_at=paid)])
    world.load()
    world.publish([payment(2, "2.00", paid_at=None)])
    (merge,) = merges_of(world)

    assert days_in(merge, "paid_at") == [("2026-11-20 00:00:00+00", "2026-11-21 00:00:00+00")]
    assert "T.`paid_at` IS NULL" in merge.args["on"].sql("bigquery")
    assert [(row["payment_id"], row["paid_at"]) for row in world.rows("payment_id")] == [(1, paid), (2, None)]


def test_an_append_looks_for_a_row_where_it_is_not_where_it_would_be(world_of: MakeWorld) -> None:
    world = world_of(dataset={"write_disposition": "append"}, bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(1, created_at=NOON.replace(day=1))])
    world.load()
    world.publish([payment(1, "2.00"), payment(2)])
    (merge,) = merges_of(world)
    assert days_in(merge, "created_at") == [("2026-11-01", "2026-11-02"), ("2026-11-20", "2026-11-21")]
    assert world.amounts() == {1: "1.00", 2: "1.00"}


def test_a_table_whose_key_holds_the_partition_is_not_asked_where_its_rows_are(world_of: MakeWorld) -> None:
    dataset = {"primary_key": ["payment_id", "created_at"]}
    world = world_of(dataset=dataset, bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(1), payment(2, created_at=NOON.replace(day=1))])
    world.load()
    world.publish([payment(1, "2.00")])
    (merge,) = merges_of(world)
    assert days_in(merge, "created_at") == [("2026-11-20", "2026-11-21")]
    assert world.amounts() == {1: "2.00", 2: "1.00"}


def test_a_table_without_partitions_is_merged_by_its_key_alone(world: World) -> None:
    world.publish([payment(1)])
    (merge,) = merges_of(world)
    assert merge.args["on"].sql("bigquery") == "T.`payment_id` = S.`payment_id`"
