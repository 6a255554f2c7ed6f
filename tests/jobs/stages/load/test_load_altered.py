"""A lake or a table in BigQuery that is another one than the ledger speaks of: refused before anything is staged."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField

from connectors.bigquery.transactions import Entry
from connectors.errors import ConfigurationError, LakeAltered, LoadRefused, ObjectNotFound, ServiceUnavailable
from jobs.lake import batch_log as batches
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.catalog import open_catalog
from jobs.lake.expired_batches import ExpiredBatch
from jobs.lake.names import CURATED, RAW
from jobs.stages.load.batch_loader import BatchLoader
from jobs.stages.loop import run_stages
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import NOON, SALES, TYPES, World, payment

MakeWorld = Callable[..., World]

LATER = NOON + timedelta(hours=1)
DAILY = {
    "primary_key": ["business_date", "merchant_id"],
    "write_disposition": "overwrite_partitions",
    "inputs": ["payments"],
    "transform": "merchant_sales:daily",
    "options": {},
}


def sale(day: int) -> dict[str, Any]:
    return {"business_date": date(2026, 11, day), "merchant_id": 1, "sales": Decimal(day)}


def raw_of(world: World) -> Table:
    return open_catalog(world.settings).load_table((RAW, world.name))


def drop_raw(world: World) -> None:
    open_catalog(world.settings).drop_table((RAW, world.name))
    world.published = 0


def set_back(world: World, batch: int) -> None:
    """Have `main` end with this batch, as `rollback_to_snapshot` does."""
    raw = raw_of(world)
    [snapshot] = [found.snapshot_id for found in batches.published_batches(raw) if found.batch == batch]
    raw.manage_snapshots().rollback_to_snapshot(snapshot).commit()
    world.published = batch


def expire(world: World, *numbers: int) -> None:
    raw = raw_of(world)
    gone = [found.snapshot_id for found in batches.published_batches(raw) if found.batch in numbers]
    raw.maintenance.expire_snapshots().by_ids(gone).commit()


def loaded(world: World, number: int) -> World:
    """The world with so many batches, all loaded: payment n comes with batch n."""
    for batch in range(1, number + 1):
        world.publish([payment(batch)], run_id=f"before {batch}")
    world.load()
    return world


def refused(world: World, words: str) -> LakeAltered:
    """Load, and see that nothing was staged and nothing changed."""
    tables = [world.table, world.ledger_table]
    before = [world.values(f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    sent: list[str] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if method != "GET" and b"SELECT `batch`" not in body:
            sent.append(f"{method} {path} {body[:300]!r}")
        return forward()

    with (
        endpoint(str(world.settings.warehouse_endpoint), listen) as address,
        pytest.raises(LakeAltered, match=words) as told,
    ):
        world.load("another", settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert sent == []
    assert [world.values(f"SELECT * FROM {table} ORDER BY 1") for table in tables] == before
    assert (told.value.exit_code, told.value.pipeline, told.value.dataset) == (2, "payments", world.name)
    return told.value


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("disposition", ["merge", "replace"])
def test_a_raw_table_made_anew_is_not_loaded_from(world_of: MakeWorld, disposition: str, number: int) -> None:
    world = loaded(world_of(dataset={"write_disposition": disposition}), 2)
    drop_raw(world)
    for batch in range(1, number + 1):
        world.publish([payment(10 + batch)], run_id=f"after {batch}")
    error = refused(world, f"raw.{world.name} is not the table that BigQuery was loaded from up to batch 2")
    assert f"drop the tables {world.table} and {world.ledger_table}" in str(error)

    # The way out.
    for table in (world.table, world.ledger_table):
        world.client.delete_table(table)
    world.load()
    kept = range(1, number + 1) if disposition == "merge" else [number]
    assert sorted(world.amounts()) == [10 + batch for batch in kept]


def test_the_refusal_is_exit_code_2_and_a_restored_table_is_loaded_from_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(world, 1)
    catalog, before = open_catalog(world.settings), raw_of(world).metadata_location
    drop_raw(world)
    for batch in range(1, 4):
        world.publish([payment(10 + batch)], run_id=f"after {batch}")
    plan = world.write_plan("after 3")
    assert run_stages(plan, "load", "load", world.settings) == 2
    assert "Restore that table" in capsys.readouterr().err

    catalog.drop_table((RAW, world.name))
    catalog.register_table((RAW, world.name), before)
    world.published = 1
    world.publish([payment(2)])
    assert run_stages(world.write_plan("run 2"), "load", "load", world.settings) == 0
    assert sorted(world.amounts()) == [1, 2]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2, r"says batch 3 is loaded, the lake has published 2: raw\.\S+ was set back"),
        (3, r"batch 3 of raw\.\S+ is not the one that BigQuery was loaded with: its snapshot is \d+, \S+ says \d+"),
        (4, r"batch 3 of raw\.\S+ is not the one that BigQuery was loaded with: its snapshot is \d+, \S+ says \d+"),
    ],
)
def test_a_raw_table_set_back_and_written_again_is_not_loaded_from(world: World, number: int, words: str) -> None:
    loaded(world, 3)
    set_back(world, 1)
    for batch in range(2, number + 1):
        world.publish([payment(10 + batch)], run_id=f"before {batch}")
    refused(world, words)


def test_a_raw_table_set_back_and_forward_again_is_loaded_from(world: World) -> None:
    loaded(world, 2)
    newest = raw_of(world).metadata.current_snapshot_id
    set_back(world, 1)
    refused(world, "was set back")
    raw_of(world).manage_snapshots().set_current_snapshot(newest).commit()
    world.published = 2
    world.publish([payment(3)])
    world.load()
    assert sorted(world.amounts()) == [1, 2, 3]


def test_a_batch_whose_snapshot_expired_is_known_by_its_number(world: World) -> None:
    loaded(world, 2)
    world.publish([payment(3)])
    expire(world, 1, 2)
    assert world.load().details.batches == [3]
    assert sorted(world.amounts()) == [1, 2, 3]


def test_batches_that_expired_before_they_were_loaded_are_loaded_by_number(world: World) -> None:
    loaded(world, 1)
    world.publish([payment(2), payment(1, "2.00")])
    world.publish([])
    world.publish([payment(4)])
    world.publish([payment(1, "5.00")])
    expire(world, 2, 3, 4)
    receipt = world.load()
    assert (receipt.details.batches, receipt.loaded) == ([2, 3, 4, 5], 4)
    assert world.amounts() == {1: "5.00", 2: "1.00", 4: "1.00"}
    assert world.ledger() == [(5, "run 5", 1)]
    assert world.load().verdict == "done"


def afresh(world: World) -> None:
    """Follow the way out that refusals name."""
    for table in (world.table, world.ledger_table):
        world.client.delete_table(table, not_found_ok=True)


@pytest.mark.parametrize("disposition", ["merge", "append"])
def test_a_dataset_whose_log_was_expired_can_be_loaded_afresh(world_of: MakeWorld, disposition: str) -> None:
    spec = {"write_disposition": disposition, "reconcile": "fingerprint"}
    world = world_of(dataset=spec)
    world.publish([payment(1), payment(2)])
    world.publish([payment(3), payment(1, "2.00", updated_at=LATER)])
    world.publish([payment(2, "3.00", updated_at=LATER), payment(4)])
    world.publish([payment(5)])
    world.load()
    before = world.rows("payment_id")
    expire(world, 1, 2, 3)
    world.client.delete_table(world.table)
    world.publish([payment(6)])
    with pytest.raises(ObjectNotFound, match="is gone from BigQuery") as refused:
        world.load()
    assert f"drop the tables {world.table} and {world.ledger_table}; then run again" in str(refused.value)
    world.client.delete_table(world.ledger_table)
    assert world.load().details.batches == [1, 2, 3, 4, 5]
    assert [row for row in world.rows("payment_id") if row["payment_id"] != 6] == before
    # The ledger has come to the newest batch, whose snapshot is there.
    assert world.values(f"SELECT snapshot_id IS NULL FROM {world.ledger_table}") == [(False,)]


def test_a_load_of_expired_batches_that_died_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in range(1, 5):
        world.publish([payment(batch)], run_id=f"before {batch}")
    expire(world, 1, 2, 3)
    move, moved = BatchLoader.move, []

    def die_at_the_third(loader: BatchLoader, batch: PublishedBatch | ExpiredBatch, entry: Entry) -> Entry:
        if batch.batch == 3:
            raise ServiceUnavailable("the machine was lost")
        moved.append(batch.batch)
        return move(loader, batch, entry)

    monkeypatch.setattr(BatchLoader, "move", die_at_the_third)
    with pytest.raises(ServiceUnavailable):
        world.load()
    assert moved == [1, 2]
    assert world.ledger() == [(2, "before 2", 1)]
    assert world.values(f"SELECT snapshot_id FROM {world.ledger_table}") == [(None,)]
    monkeypatch.undo()
    assert world.load().details.batches == [3, 4]
    assert sorted(world.amounts()) == [1, 2, 3, 4]


@pytest.mark.parametrize("published", [0, 2])
def test_expired_batches_with_other_rows_than_the_table_are_refused(world: World, published: int) -> None:
    world.publish([payment(1)])
    world.publish([payment(2)], told_rows=published)
    expire(world, 1)
    with pytest.raises(
        LakeAltered, match=rf"raw.{world.name} holds 2 rows, and its batches have {1 + published}:"
    ) as e:
        world.load()
    assert f"drop raw.{world.name}, curated.{world.name}, and" in str(e.value.fix)
    assert world.ledger() == [(0, None, 0)]


def test_partitions_of_expired_batches_are_unknown_and_the_way_out_says_so(world_of: MakeWorld) -> None:
    world = world_of(columns=SALES, source=None, dataset=DAILY, bigquery_spec={"partition_by": "business_date"})
    world.publish([sale(1), sale(2)], partitions=["2026-11-01", "2026-11-02"])
    world.publish([], partitions=["2026-11-02"])
    world.publish([sale(3)], partitions=["2026-11-03"])
    world.load()
    before = world.rows("business_date")
    expire(world, 1, 2)
    # One that must be loaded afresh for another reason.
    world.client.delete_table(world.table)
    world.publish([sale(4)], partitions=["2026-11-04"])
    with pytest.raises(ObjectNotFound) as refused:
        world.load()
    way = (
        f"drop the tables {world.table} and {world.ledger_table}, and drop raw.{world.name} and "
        f"curated.{world.name} in the lake, as batches are gone from the log"
    )
    assert way in str(refused.value)
    # One who drops half of it.
    world.client.delete_table(world.ledger_table)
    with pytest.raises(LoadRefused, match=rf"batches 1-2 of raw.{world.name} are gone from its log") as again:
        world.load()
    assert way in str(again.value)
    assert world.ledger() == [(0, None, 0)]
    # The whole way.
    drop_raw(world)
    afresh(world)
    days = ["2026-11-01", "2026-11-03"]
    world.publish([sale(1), sale(3)], partitions=days)
    world.load()
    assert [(row["business_date"], row["sales"]) for row in world.rows("business_date")] == [
        (row["business_date"], row["sales"]) for row in before
    ]


def empty_again(world: World) -> None:
    """A raw table as extract makes it, whose snapshot holds no batch."""
    schema = raw_of(world).schema()
    drop_raw(world)
    raw = open_catalog(world.settings).create_table((RAW, world.name), schema)
    raw.append(schema.as_arrow().empty_table())


def write_curated(world: World, consumed: int) -> None:
    catalog = open_catalog(world.settings)
    catalog.create_namespace_if_not_exists(CURATED)
    schema = Schema(NestedField(1, "payment_id", TYPES["bigint"]))
    curated = catalog.create_table((CURATED, world.name), schema)
    curated.append(schema.as_arrow().empty_table(), snapshot_properties={batches.CONSUMED: str(consumed)})


def lose_the_log(world: World) -> None:
    """Another tool's commit, after which the snapshots of all batches expire."""
    raw = raw_of(world)
    raw.append(raw.schema().as_arrow().empty_table())
    expire(world, 1, 2)


def set_back_to_the_first_snapshot(world: World) -> None:
    raw = raw_of(world)
    raw.manage_snapshots().rollback_to_snapshot(raw.metadata.snapshot_log[0].snapshot_id).commit()


def made_anew_beside_curated(world: World) -> None:
    empty_again(world)
    write_curated(world, 2)


@pytest.mark.parametrize("lose", [drop_raw, lose_the_log, set_back_to_the_first_snapshot, made_anew_beside_curated])
def test_batches_that_vanished_are_not_nothing_to_do(world: World, lose: Callable[[World], None]) -> None:
    world.publish([])
    empty_again(world)
    loaded(world, 2)
    lose(world)
    # As in the run's plan, which was made while the batches were there.
    world.published = 2
    error = refused(
        world, rf"raw.{world.name} is gone or has no batch, and the ledger {world.ledger_table} says batch 2"
    )
    assert "Restore the table" in str(error)


def nothing_made(world: World) -> None:
    pass


def extracted_in_vain(world: World) -> None:
    """Rows were read, and the window was empty: raw has the snapshot it was made with."""
    catalog = open_catalog(world.settings)
    catalog.create_namespace_if_not_exists(RAW)
    schema = Schema(NestedField(1, "payment_id", TYPES["bigint"]))
    catalog.create_table((RAW, world.name), schema).append(schema.as_arrow().empty_table())
    write_curated(world, 0)


@pytest.mark.parametrize("begin", [nothing_made, extracted_in_vain])
def test_before_the_first_batch_bigquery_is_not_asked(world: World, begin: Callable[[World], None]) -> None:
    begin(world)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = world.settings.model_copy(update={"warehouse_endpoint": f"http://127.0.0.1:{port}"})
    assert world.load("run 1", settings=settings).verdict == "empty"


def test_a_first_batch_that_vanished_unloaded_is_nothing_to_do(world: World) -> None:
    world.publish([payment(1)])
    open_catalog(world.settings).drop_table((RAW, world.name))
    assert world.load().verdict == "empty"


def make_target_anew(world: World) -> list[dict[str, Any]]:
    """Drops the table and makes it again with its rows, as somebody might; returns the rows."""
    before = world.rows("payment_id")
    world.values(f"CREATE TABLE {world.table}_copy AS SELECT * FROM {world.table}")
    world.client.delete_table(world.table)
    world.values(f"CREATE TABLE {world.table} AS SELECT * FROM {world.table}_copy")
    return before


def test_a_table_in_bigquery_that_was_made_anew_is_not_loaded_into(world: World) -> None:
    loaded(world, 2)
    make_target_anew(world)
    world.publish([payment(3)])
    with pytest.raises(
        ConfigurationError, match=rf"{world.table} was created at \S+ \S+, and .* says batch 2 was"
    ) as told:
        world.load()
    assert sorted(world.amounts()) == [1, 2]
    # The way out, as the message has it, of one who knows that the rows are there.
    statement = str(told.value).split("by hand): ")[1].split(". To load")[0]
    world.values(statement)
    world.load()
    assert sorted(world.amounts()) == [1, 2, 3]


def test_a_table_made_anew_is_not_copied_from(world: World) -> None:
    loaded(world, 2)
    make_target_anew(world)
    dataset = world.spec.datasets[0]
    keys = {"table": f"{world.table}_2", "relayout": "copy"}
    layout = dataset.bigquery.model_copy(update=keys)
    world.spec = world.spec.model_copy(update={"datasets": [dataset.model_copy(update={"bigquery": layout})]})
    with pytest.raises(ConfigurationError, match=f"table {world.table} was created at .* may lack the batches up to 2"):
        world.load()


def test_a_replace_may_go_into_a_table_made_anew(world_of: MakeWorld) -> None:
    world = loaded(world_of(dataset={"write_disposition": "replace"}), 2)
    make_target_anew(world)
    world.publish([payment(3)])
    world.load()
    assert sorted(world.amounts()) == [3]
