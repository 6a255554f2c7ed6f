"""Loads side by side, before a service that cancels one of two transactions which change one table."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from jobs.runs.receipts import Receipt
from jobs.stages.loop import run_stages
from tests.support.faulty_endpoint import endpoint
from tests.support.load_world import World, payment
from tests.support.transaction_conflicts import Conflicts, changed_tables

MakeWorld = Callable[..., World]


def through(world: World, address: str) -> World:
    return replace(world, settings=world.settings.model_copy(update={"warehouse_endpoint": address}))


def test_loads_of_twelve_datasets_at_once_succeed_at_the_first_try(world_of: MakeWorld) -> None:
    first, *others = (world_of() for _ in range(12))
    shared = {"warehouse_ledger_dataset": first.settings.warehouse_ledger_dataset}
    worlds = [first, *(replace(world, settings=world.settings.model_copy(update=shared)) for world in others)]
    for world in worlds:
        world.publish([payment(1), payment(2)])
    service = Conflicts(together=12)
    with endpoint(str(first.settings.warehouse_endpoint), service) as address, ThreadPoolExecutor(12) as pool:
        receipts = list(pool.map(lambda world: through(world, address).load(), worlds))

    assert service.cancelled == []
    assert [receipt.warehouse_rows for receipt in receipts] == [2] * 12
    assert [world.ledger() for world in worlds] == [[(1, "run 1", 2)]] * 12


def test_two_loads_of_one_dataset_conflict_and_both_end_well(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(1, "2.00"), payment(2)])
    service = Conflicts(together=2)
    with endpoint(str(world.settings.warehouse_endpoint), service) as address, ThreadPoolExecutor(2) as pool:
        loading = [pool.submit(through(world, address).load, f"loader {number}") for number in range(2)]
        receipts: list[Receipt] = [load.result() for load in loading]

    assert service.cancelled
    assert [receipt.warehouse_rows for receipt in receipts] == [2, 2]
    assert world.amounts() == {1: "2.00", 2: "1.00"}
    assert world.ledger() == [(2, "run 2", 2)]


@pytest.mark.parametrize("which", ["ledger", "target"])
def test_a_conflict_that_never_ends_is_a_failure_outside(
    world: World, which: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(2)])
    plan = world.write_plan("run 2")
    service = Conflicts(held={world.ledger_table if which == "ledger" else world.table})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with endpoint(str(world.settings.warehouse_endpoint), service) as address:
        assert run_stages(plan, "load", "load", through(world, address).settings) == 3
    assert "Transaction is aborted due to concurrent update against table" in capsys.readouterr().err
    assert len(service.cancelled) > 1
    assert world.amounts() == {1: "1.00"}
    assert world.ledger() == [(1, "run 1", 1)]
    monkeypatch.undo()

    # Not a verdict on the data: the same plan goes on when the session is closed.
    assert run_stages(plan, "load", "load", world.settings) == 0
    assert world.amounts() == {1: "1.00", 2: "1.00"}


def test_the_stand_in_knows_which_statements_change_a_table() -> None:
    script = (
        "BEGIN TRANSACTION;\nSELECT 1 FROM `p`.`d`.`read`;\nUPDATE `p`.`d`.`updated` SET a = 1 WHERE TRUE;\n"
        "DELETE FROM `p`.`d`.`deleted` AS T WHERE TRUE;\nTRUNCATE TABLE `p`.`d`.`emptied`;\n"
        "INSERT INTO `p`.`d`.`appended` (a) SELECT 1;\nMERGE INTO `p`.`d`.`merged` AS T USING (SELECT a FROM "
        "`p`.`d`.`staged`) AS S ON T.a = S.a WHEN NOT MATCHED THEN INSERT (a) VALUES (S.a);\nCOMMIT TRANSACTION;"
    )
    assert changed_tables(script) == {"d.updated", "d.deleted", "d.emptied", "d.merged"}
