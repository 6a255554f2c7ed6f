"""`bigquery: {relayout: copy}`: what BigQuery cannot change in place is made in a table of another name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import bigquery

from connectors.base import Column
from connectors.errors import ConfigurationError, LoadRefused, ObjectNotFound
from jobs.runs.receipts import Receipt
from jobs.runtime.fault_points import CRASH_VARIABLE, GENTLY_VARIABLE, Crash
from tests.jobs.stages.load.test_load_cost import GB, load_through, with_bytes
from tests.support.faulty_endpoint import Answer, configuration, endpoint
from tests.support.load_world import NOON, PAYMENTS, World, payment

MakeWorld = Callable[..., World]
GONE = datetime(2026, 11, 20, 15, tzinfo=UTC)
MONTHS = {"partition_by": "created_at", "partition_granularity": "month"}


def moved(world: World, **layout: Any) -> World:
    """The same world with its table under another name, laid out otherwise."""
    dataset = world.spec.datasets[0]
    keys = {"table": f"{world.table}_2", "relayout": "copy", **layout}
    spec = type(dataset.bigquery).model_validate({**dataset.bigquery.model_dump(exclude_unset=True), **keys})
    pipeline = world.spec.model_copy(update={"datasets": [dataset.model_copy(update={"bigquery": spec})]})
    return replace(world, spec=pipeline, table=spec.table)


def target_of(world: World) -> str:
    [(target,)] = world.values(f"SELECT target FROM {world.ledger_table}")
    return str(target)


def two_batches(world: World) -> list[dict[str, Any]]:
    world.publish([payment(1), payment(2, created_at=datetime(2025, 1, 31, 23)), payment(3)])
    world.publish([payment(3, "3.00", memo='寿司 "raw"\\\n', updated_at=NOON.replace(hour=13)), payment(4)])
    world.load()
    return world.rows("payment_id")


def test_the_rows_are_copied_and_the_next_batch_goes_to_the_new_table(world: World) -> None:
    before = two_batches(world)
    new = moved(world, **MONTHS, cluster_by=["merchant_id"])
    receipt = new.load("run 2")
    assert new.rows("payment_id") == before
    assert (target_of(new), new.ledger()) == (new.table, [(2, "run 2", 2)])
    assert (receipt.verdict, receipt.warehouse_rows) == ("done", 4)
    assert (receipt.details.copied_from, receipt.details.copied_rows) == (world.table, 4)
    table = new.client.get_table(new.table)
    assert (table.time_partitioning.field, table.time_partitioning.type_) == ("created_at", "MONTH")
    assert table.clustering_fields == ["merchant_id"]

    new.publish([payment(1, "9.00"), payment(5)])
    receipt = new.load()
    assert [str(row["amount"].quantize(1)) for row in new.rows("payment_id")] == ["9", "1", "3", "1", "1"]
    assert receipt.details.copied_rows is None
    # Who reads the old table reads the old rows.
    assert world.rows("payment_id") == before


def test_without_leave_nothing_is_copied_and_the_message_says_how_to_give_it(world: World) -> None:
    two_batches(world)
    with pytest.raises(ConfigurationError, match=r"the batches up to 2 are in \S+payments: .*relayout: copy"):
        moved(world, relayout="refuse").load()
    world.publish([payment(9)])
    with pytest.raises(ConfigurationError, match=r"name another bigquery\.table and write relayout: copy"):
        moved(world, table=world.table, **MONTHS).load()
    assert target_of(world) == world.table


@pytest.mark.parametrize("point", ["load.relocating", "load.relocated"])
def test_a_copy_that_dies_is_finished_by_the_next_run(
    world: World, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = two_batches(world)
    world.publish([payment(5)])
    new = moved(world, **MONTHS)
    monkeypatch.setenv(GENTLY_VARIABLE, "1")
    monkeypatch.setenv(CRASH_VARIABLE, f"{point}:{world.name}")
    with pytest.raises(Crash):
        new.load()
    done = point == "load.relocated"
    assert target_of(new) == (new.table if done else world.table)
    assert new.rows("payment_id") == (before if done else [])
    monkeypatch.delenv(CRASH_VARIABLE)
    new.load()
    assert [row["payment_id"] for row in new.rows("payment_id")] == [1, 2, 3, 4, 5]
    assert new.ledger() == [(3, "run 3", 1)]
    assert world.rows("payment_id") == before


def test_a_copy_whose_reply_is_lost_is_seen_in_the_ledger(world: World) -> None:
    before = two_batches(world)
    new = moved(world, **MONTHS)
    lost: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        if b"COMMIT TRANSACTION" in body and not lost:
            lost.append(path)
            return None
        return answer

    receipt = load_through(new, fault)
    assert lost
    assert receipt.details.copied_rows == 4
    assert new.rows("payment_id") == before


def test_two_loaders_at_once_copy_once(world: World) -> None:
    two_batches(world)
    world.publish([payment(5)])
    new = moved(world, **MONTHS)
    both = threading.Barrier(2, timeout=60)
    receipts: list[Receipt] = []

    def wait_for_the_other(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"not all rows were copied" in body and not both.broken:
            both.wait()
        return forward()

    def loader(run_id: str, address: str) -> None:
        receipts.append(new.load(run_id, settings=new.settings.model_copy(update={"warehouse_endpoint": address})))

    with endpoint(str(world.settings.warehouse_endpoint), wait_for_the_other) as address:
        threads = [threading.Thread(target=loader, args=(f"loader {n}", address)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(receipts) == 2
    assert [row["payment_id"] for row in new.rows("payment_id")] == [1, 2, 3, 4, 5]
    assert (target_of(new), new.ledger()) == (new.table, [(3, "run 3", 1)])


def test_a_loader_that_knows_the_old_table_only_does_not_load_into_it_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = two_batches(world)
    world.publish([payment(5)])
    new = moved(world, **MONTHS)
    copied: list[str] = []

    def copy_first(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body and not copied:
            copied.append(path)
            monkeypatch.setenv(CRASH_VARIABLE, "load.relocated")
            with pytest.raises(Crash):
                new.load()
            monkeypatch.delenv(CRASH_VARIABLE)
        return forward()

    monkeypatch.setenv(GENTLY_VARIABLE, "1")
    with pytest.raises(LoadRefused, match="the ledger moved"):
        load_through(world, copy_first)
    assert world.rows("payment_id") == before
    with pytest.raises(ConfigurationError, match=f"are in {new.table}"):
        world.load()
    new.load()
    assert [row["payment_id"] for row in new.rows("payment_id")] == [1, 2, 3, 4, 5]


def test_a_table_that_holds_rows_of_others_is_not_copied_into(world: World) -> None:
    two_batches(world)
    new = moved(world)
    new.values(f"CREATE TABLE {new.table} AS SELECT 77 AS payment_id")
    with pytest.raises(ConfigurationError, match=r"_2 holds rows already, which are not those of"):
        new.load()
    assert [row["payment_id"] for row in new.rows()] == [77]
    assert target_of(new) == world.table


def add_note(world: World) -> None:
    """A column; of the two ways to add one the emulator makes it with the one and says so with the other."""
    table = world.client.get_table(world.table)
    table.schema = [*table.schema, bigquery.SchemaField("note", "STRING")]
    world.client.update_table(table, ["schema"])
    world.values(f"ALTER TABLE {world.table} ADD COLUMN IF NOT EXISTS note STRING")


def test_a_column_of_the_users_own_is_not_lost(world: World) -> None:
    two_batches(world)
    add_note(world)
    world.values(f"UPDATE {world.table} SET note = 'mine' WHERE payment_id = 2")
    new = moved(world, **MONTHS)
    with pytest.raises(ConfigurationError, match="has a column 'note' that the dataset does not have"):
        new.load()
    add_note(new)
    new.load()
    assert [row["note"] for row in new.rows("payment_id")] == [None, "mine", None, None]


def test_a_wider_column_of_the_new_table_stays_and_a_table_that_is_gone_is_said(world: World) -> None:
    two_batches(world)
    new = moved(world)
    fields = [bigquery.SchemaField("merchant_id", "NUMERIC")]
    new.client.create_table(bigquery.Table(f"{new.client.project}.{new.table}", schema=fields))
    new.load()
    assert [row["merchant_id"] for row in new.rows()] == [7, 7, 7, 7]
    third = moved(world, table=f"{world.table}_3")
    new.client.delete_table(new.table)
    with pytest.raises(ObjectNotFound, match=r"the batches up to 2 are in \S+_2, which is gone"):
        third.load()


def test_nulls_of_the_old_table_are_taken_by_the_new_one(world: World) -> None:
    world.publish([payment(1), {**payment(2), "amount": None}])
    world.load()
    kinds = {"payment_id": "bigint", "amount": "decimal(18,2)"}
    new = moved(world, **MONTHS)
    new.source_columns = tuple(
        Column(name=name, source_type="any", spark_type=kind, nullable=False) for name, kind in kinds.items()
    )
    new.load()
    assert [row["amount"] for row in new.rows("payment_id")][1] is None


def test_a_copy_that_would_scan_too_much_is_refused(world: World) -> None:
    two_batches(world)
    new = moved(world, max_bytes_billed="10 GB")

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body) if method == "POST" else {}
        if asked.get("dryRun") and asked["query"]["query"].startswith("INSERT"):
            return with_bytes(forward(), totalBytesProcessed=11 * GB)
        return forward()

    with pytest.raises(LoadRefused, match=r"copying \S+ to \S+_2 would scan 11 GB"):
        load_through(new, fault)
    assert new.rows() == []


def test_what_was_marked_in_the_old_table_is_removed_from_the_new(world_of: MakeWorld) -> None:
    world = world_of(columns={**PAYMENTS, "_deleted_at": "timestamp"}, dataset={"deletes": "sweep"})
    world.publish([payment(1), {**payment(2), "_deleted_at": GONE}])
    world.load()
    new = moved(world, **MONTHS, deletes="remove")
    world.publish([])
    new.published = world.published
    new.load()
    assert [row["payment_id"] for row in new.rows()] == [1]
    assert len(world.rows()) == 2
