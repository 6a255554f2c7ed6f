"""A lake or a table in BigQuery that is another one than the ledger speaks of: refused before anything is staged."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from faulty_endpoint import Answer, endpoint
from load_world import TYPES, World, payment
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField

from connectors.errors import ConfigurationError, LakeAltered, LoadRefused
from jobs.lake import batches
from jobs.lake.catalog import open_catalog
from jobs.lake.names import CURATED, RAW
from jobs.stages import run_stages

MakeWorld = Callable[..., World]


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
    error = refused(world, f"raw.{world.name} is another table than the one BigQuery was loaded from up to batch 2")
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
        (3, r"batch 3 of raw\.\S+ is another one than BigQuery was loaded with: its snapshot is \d+, \S+ says \d+"),
        (4, r"batch 3 of raw\.\S+ is another one than BigQuery was loaded with: its snapshot is \d+, \S+ says \d+"),
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
    assert world.load().details["batches"] == [3]
    assert sorted(world.amounts()) == [1, 2, 3]


def test_batches_that_expired_before_they_were_loaded_are_missed(world: World) -> None:
    loaded(world, 1)
    for batch in (2, 3, 4):
        world.publish([payment(batch)])
    expire(world, 2, 3)
    with pytest.raises(LoadRefused, match=rf"batches \[2, 3\] .* gone from the log of raw.{world.name}; .* to batch 1"):
        world.load()
    assert sorted(world.amounts()) == [1]
    assert world.ledger() == [(1, "before 1", 1)]


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
    # What the run's plan says: it was made while the batches were there.
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
    """Somebody drops the table and makes it anew, with what it held; returns that."""
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
        ConfigurationError, match=rf"{world.table} was made at \S+ \S+, and .* says batch 2 was"
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
    with pytest.raises(ConfigurationError, match=f"table {world.table} was made at .* may lack the batches up to 2"):
        world.load()


def test_a_replace_may_go_into_a_table_made_anew(world_of: MakeWorld) -> None:
    world = loaded(world_of(dataset={"write_disposition": "replace"}), 2)
    make_target_anew(world)
    world.publish([payment(3)])
    world.load()
    assert sorted(world.amounts()) == [3]
