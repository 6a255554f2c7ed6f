"""The ledger's row: what it begins with, what it says after a batch, and what becomes of hands that write there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.errors import ConfigurationError, LakeAltered, LoadRefused
from jobs.lake.batch_log import published_batches
from jobs.lake.catalog import open_catalog
from jobs.lake.names import RAW
from tests.jobs.stages.load.test_load_relayout import moved
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import World, payment

MakeWorld = Callable[..., World]


def shared_ledger(world: World, *, run_id: str = "run 1", targets: bool = True, batch: int = 1) -> str:
    """The ledger as an earlier version left it, with the row of the dataset and those of others."""
    name = f"{world.settings.warehouse_ledger_dataset}.ledger"
    world.client.create_dataset(world.settings.warehouse_ledger_dataset, exists_ok=True)
    columns = "dataset STRING, batch INT64, run_id STRING, `rows` INT64, loaded_at TIMESTAMP"
    target, value = (", target STRING", f", '{world.table}'") if targets else ("", "")
    world.values(
        f"CREATE TABLE {name} ({columns}{target}) AS SELECT '' AS dataset, 0 AS batch, CAST(NULL AS STRING) AS run_id, "
        f"0 AS `rows`, CURRENT_TIMESTAMP() AS loaded_at{', CAST(NULL AS STRING) AS target' if targets else ''}"
    )
    rows = [(world.name, batch, f"'{run_id}'"), ("another", 9, "'run 9'"), (f"{world.name}_2", 0, "NULL")]
    for dataset, at, run in rows:
        world.values(f"INSERT INTO {name} SELECT '{dataset}', {at}, {run}, 1, CURRENT_TIMESTAMP(){value}")
    return name


def rows_of(world: World, table: str) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in world.client.query(f"SELECT * FROM {table} ORDER BY dataset").result()]


def test_the_ledger_says_which_batch_of_which_table_was_loaded(world: World) -> None:
    world.publish([payment(1), payment(2)])
    world.load()
    raw = open_catalog(world.settings).load_table((RAW, world.name))
    [row] = rows_of(world, world.ledger_table)
    assert row.pop("loaded_at") is not None
    assert row == {
        "dataset": world.name,
        "batch": 1,
        "run_id": "run 1",
        "rows": 2,
        "target": world.table,
        "table_uuid": str(raw.metadata.table_uuid),
        "snapshot_id": published_batches(raw)[0].snapshot_id,
    }


@pytest.mark.parametrize("targets", [True, False])
def test_a_dataset_goes_on_where_the_shared_ledger_left_it(world: World, targets: bool) -> None:
    world.publish([payment(1)])
    world.load()
    world.client.delete_table(world.ledger_table)
    shared = shared_ledger(world, targets=targets)
    kept = rows_of(world, shared)

    world.publish([payment(2)])
    receipt = world.load()
    assert receipt.details.batches == [2]
    assert sorted(world.amounts()) == [1, 2]
    assert world.ledger() == [(2, "run 2", 1)]
    assert rows_of(world, shared) == kept
    [row] = rows_of(world, world.ledger_table)
    assert row["table_uuid"] == str(open_catalog(world.settings).load_table((RAW, world.name)).metadata.table_uuid)


def test_a_dataset_the_shared_ledger_does_not_know_begins_at_its_first_batch(world: World) -> None:
    world.publish([payment(1)])
    shared = shared_ledger(world)
    world.values(f"DELETE FROM {shared} WHERE dataset = '{world.name}'")
    world.load()
    assert world.ledger() == [(1, "run 1", 1)]


def test_an_entry_of_the_shared_ledger_has_no_uuid_and_its_run_is_compared(world: World) -> None:
    world.publish([payment(1)], run_id="after")
    world.publish([payment(2)])
    shared = shared_ledger(world, run_id="before")
    with pytest.raises(LakeAltered, match=r"batch 1 of .* is not the one .*: its run is after, .* says before") as told:
        world.load()
    # Dropped alone, the new ledger would begin with the old row again.
    assert (
        f"drop the tables {world.table} and {world.ledger_table}, and delete the row of {world.name} from {shared}"
        in (str(told.value))
    )


def test_a_table_dropped_since_the_shared_ledger_was_written_is_missed(world: World) -> None:
    world.publish([payment(1)])
    world.publish([payment(2)])
    shared_ledger(world)
    world.make_narrow()
    with pytest.raises(ConfigurationError, match=r"was created at .* it may lack the batches up to 1"):
        world.load()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "INSERT INTO {ledger} SELECT * FROM {ledger}",
            r"holds 2 rows, where exactly one is expected.*delete all but the right one",
        ),
        (
            "DELETE FROM {ledger} WHERE TRUE",
            r"holds no rows, where exactly one is expected.*drop \S+ to have it created again",
        ),
    ],
)
def test_a_ledger_that_has_not_one_row_is_refused(world: World, change: str, words: str) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(2)])
    world.values(change.format(ledger=world.ledger_table))
    with pytest.raises(LoadRefused, match=words):
        world.load()
    assert sorted(world.amounts()) == [1]


def changing(world: World, assignments: str) -> Callable[..., Answer | None]:
    """Somebody changes the ledger's row while a load's transaction is on its way."""

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body:
            world.set_ledger(assignments)
        return forward()

    return fault


@pytest.mark.parametrize(
    "assignments", ["batch = 0", "table_uuid = 'another'", "snapshot_id = 7", "snapshot_id = NULL"]
)
def test_a_row_changed_by_hand_during_a_load_stops_it(world: World, assignments: str) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(2)])
    with (
        endpoint(str(world.settings.warehouse_endpoint), changing(world, assignments)) as address,
        pytest.raises(LoadRefused, match=r"was changed while batch 2 was loaded: it was at batch 1, and is at"),
    ):
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert sorted(world.amounts()) == [1]


def test_a_copy_after_which_the_ledger_names_another_table_is_refused(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    new = moved(world, partition_by="created_at")

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        if b"COMMIT TRANSACTION" in body:
            world.set_ledger("target = 'shop.elsewhere'")
        return answer

    with (
        endpoint(str(world.settings.warehouse_endpoint), fault) as address,
        pytest.raises(LoadRefused, match=rf"were copied to {new.table}, and the ledger \S+ names shop.elsewhere"),
    ):
        new.load(settings=new.settings.model_copy(update={"warehouse_endpoint": address}))
