"""`bigquery: {deletes: remove}`: rows that are gone at the source leave the table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.errors import LoadRefused
from tests.jobs.stages.load.test_load_cost import GB, load_through, with_bytes
from tests.support.faulty_endpoint import Answer, configuration
from tests.support.load_world import NOON, PAYMENTS, World, payment

MakeWorld = Callable[..., World]
SWEPT = {**PAYMENTS, "_deleted_at": "timestamp"}
GONE = datetime(2026, 11, 20, 15, tzinfo=UTC)


def row(payment_id: int, amount: str = "1.00", **changes: Any) -> dict[str, Any]:
    return {**payment(payment_id, amount), "_deleted_at": None, **changes}


def tombstone(payment_id: int, amount: str = "1.00", **changes: Any) -> dict[str, Any]:
    """Returns the tombstone that a sweep leaves: the row as the lake has it, and when it was found gone."""
    return row(payment_id, amount, _deleted_at=GONE, **changes)


def swept_world(world_of: MakeWorld, deletes: str, **layout: Any) -> World:
    return world_of(columns=SWEPT, dataset={"deletes": "sweep"}, bigquery_spec={"deletes": deletes, **layout})


def say(world: World, deletes: str) -> None:
    """Change the spec."""
    dataset = world.spec.datasets[0]
    changed = dataset.model_copy(update={"bigquery": dataset.bigquery.model_copy(update={"deletes": deletes})})
    world.spec = world.spec.model_copy(update={"datasets": [changed]})


def held(world: World) -> dict[int, str]:
    """Amounts of all rows there are."""
    return {found["payment_id"]: str(found["amount"].quantize(1)) for found in world.rows("payment_id")}


def live(world: World) -> list[tuple[Any, ...]]:
    columns = ", ".join(name for name in [*PAYMENTS, "_batch"])
    return world.values(f"SELECT {columns} FROM {world.table} WHERE _deleted_at IS NULL ORDER BY 1")


def test_a_row_that_is_gone_leaves_and_one_that_is_back_is_there(world_of: MakeWorld) -> None:
    world = swept_world(world_of, "remove", partition_by="created_at", require_partition_filter=True)
    later = NOON.replace(hour=14)
    world.publish([row(1), row(2), row(3), row(4, "4.00", updated_at=later)])
    world.load()
    # 4 has moved on since it was found gone; 9 was never there.
    world.publish([tombstone(1), tombstone(2), tombstone(4, "3.00"), tombstone(9), row(5, "5.00")])
    receipt = world.load()
    assert held(world) == {3: "1", 4: "4", 5: "5"}
    assert (receipt.published, receipt.loaded, receipt.warehouse_rows) == (5, 5, 3)

    # Back with a version older than the one that left.
    world.publish([row(1, "7.00", updated_at=NOON.replace(year=2020)), row(2, "8.00", updated_at=later)])
    world.load()
    assert held(world) == {1: "7", 2: "8", 3: "1", 4: "4", 5: "5"}
    assert {found["_deleted_at"] for found in world.rows()} == {None}


def test_of_a_key_that_goes_and_comes_in_one_batch_the_newest_counts(world_of: MakeWorld) -> None:
    world = swept_world(world_of, "remove")
    world.publish([row(1), row(2)])
    world.load()
    later = NOON.replace(hour=14)
    world.publish([tombstone(1), row(1, "2.00", updated_at=later), row(2, "2.00"), tombstone(2, updated_at=later)])
    world.load()
    assert held(world) == {1: "2"}


def test_after_each_batch_it_holds_what_a_marked_table_has_alive_stale_batches_included(world_of: MakeWorld) -> None:
    kept, removed = swept_world(world_of, "mark"), swept_world(world_of, "remove")
    early, late = NOON.replace(hour=11), NOON.replace(hour=13)
    batches = [
        [row(1), row(2), row(3, updated_at=late)],
        [tombstone(1), tombstone(2)],
        # A backfill that read these before they went, and was published after: they are back until the next sweep.
        [row(1), row(2, "0.50", updated_at=early), row(3, "0.50", updated_at=early)],
        [tombstone(1), tombstone(2, "0.50", updated_at=early), tombstone(3, updated_at=late)],
        # Seen gone twice, gone without having been seen, and back.
        [tombstone(1), tombstone(7), row(3, "3.00", updated_at=early)],
        [],
        [tombstone(3, "3.00", updated_at=early), row(1, "4.00")],
    ]
    seen = []
    for rows in batches:
        for world in (kept, removed):
            world.publish(rows)
            world.load()
        assert live(removed) == live(kept)
        assert len(live(removed)) == len(removed.rows())
        seen.append([found[0] for found in live(removed)])
    assert seen == [[1, 2, 3], [3], [1, 2, 3], [], [3], [3], [1]]


def test_a_load_replayed_from_the_first_batch_brings_nothing_back(world_of: MakeWorld) -> None:
    world = swept_world(world_of, "remove")
    world.publish([row(1), row(2)])
    world.publish([row(1, "2.00", updated_at=NOON.replace(hour=13))])
    world.publish([tombstone(1, "2.00", updated_at=NOON.replace(hour=13))])
    world.publish([row(3)])
    world.load()
    before = world.rows("payment_id")
    assert held(world) == {2: "1", 3: "1"}
    for batch in (0, 2):
        world.set_ledger(f"batch = {batch}")
        world.load()
        assert world.rows("payment_id") == before


def test_rows_marked_before_leave_with_the_first_load_that_removes(world_of: MakeWorld) -> None:
    layout = {"partition_by": "created_at", "require_partition_filter": True}
    world = swept_world(world_of, "mark", **layout)
    world.publish([row(1), row(2), row(3)])
    world.publish([tombstone(1)])
    world.load()
    assert held(world) == {1: "1", 2: "1", 3: "1"}

    say(world, "remove")
    world.publish([tombstone(2)])
    deletes: list[str] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body) if method == "POST" else {}
        sql = asked.get("query", {}).get("query", "")
        if sql.startswith("DELETE") and not asked.get("dryRun"):
            deletes.append(sql)
        return forward()

    load_through(world, listen)
    assert held(world) == {3: "1"}
    world.publish([row(4)])
    load_through(world, listen)
    [delete] = deletes
    assert delete.endswith("T.`_deleted_at` IS NOT NULL AND (T.`created_at` IS NULL OR T.`created_at` IS NOT NULL)")

    # Marked again for a while, and removed again.
    say(world, "mark")
    world.publish([tombstone(3)])
    world.load()
    assert held(world) == {3: "1", 4: "1"}
    say(world, "remove")
    world.publish([])
    world.load()
    assert held(world) == {4: "1"}


def test_removing_what_was_marked_keeps_to_the_limit(world_of: MakeWorld) -> None:
    world = swept_world(world_of, "mark", max_bytes_billed="10 GB")
    world.publish([row(1), tombstone(2)])
    world.load()
    say(world, "remove")
    world.publish([row(3)])

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body) if method == "POST" else {}
        if asked.get("dryRun") and asked["query"]["query"].startswith("DELETE"):
            return with_bytes(forward(), totalBytesProcessed=11 * GB)
        return forward()

    with pytest.raises(LoadRefused, match=r"removing the marked rows of \S+ would scan 11 GB .*: nothing was run"):
        load_through(world, fault)
    assert held(world) == {1: "1", 2: "1"}
    world.load()
    assert held(world) == {1: "1", 3: "1"}
