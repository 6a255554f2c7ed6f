"""Work that was begun before is not done twice: replays, killed loads, two loaders, lost replies, other hands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound

from connectors.errors import (
    ConfigurationError,
    LoadRefused,
    ObjectNotFound,
)
from jobs.runs.receipts import Receipt
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from tests.support.bigquery_contract import once_a_job
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import NOON, World, payment


def test_a_replayed_load_changes_nothing(world: World) -> None:
    world.publish([payment(1), payment(2)])
    world.publish([payment(1, "2.00", updated_at=NOON.replace(hour=13))])
    world.load()
    before = world.rows("payment_id")
    world.set_ledger("batch = 0")

    world.load()
    assert world.rows("payment_id") == before


def run_entry(world: World, uri: str, crash_at: str = "", *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, str(CHECKOUT / "jobs/load.py"), "--plan", uri],
        env={**os.environ, **world.environment(), "LAKEFERRY_CRASH_AT": crash_at},
        cwd=world.settings.catalog.removeprefix("sqlite:///").rsplit("/", 1)[0],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_load_imports_neither_spark_nor_pandas(world: World) -> None:
    world.publish([payment(1)])
    loaded = run_entry(world, world.write_plan("run 1"), "", "-X", "importtime")
    assert loaded.returncode == 0, loaded.stderr
    names = [line.rsplit("|", 1)[1].strip() for line in loaded.stderr.splitlines() if "|" in line]
    # A package that was looked for in vain is listed, too; one that is there brings modules of its own.
    imported = {name.split(".")[0] for name in names if "." in name}
    assert "pyarrow" in imported
    assert not imported & {"pandas", "pyspark", "great_expectations"}
    assert world.amounts() == {1: "1.00"}


@pytest.mark.parametrize(
    ("point", "committed"), [("load.before", False), ("load.staged", False), ("load.committed", True)]
)
def test_a_killed_load_ends_as_if_it_had_never_been_killed(world: World, point: str, committed: bool) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(1, "2.00"), payment(2, "2.00")])
    uri = world.write_plan("run 2")

    killed = run_entry(world, uri, f"{point}:{world.name}")
    assert killed.returncode == 137, killed.stderr
    assert (world.ledger()[0][0] == 2) is committed
    assert world.amounts() == ({1: "2.00", 2: "2.00"} if committed else {1: "1.00"})

    again = run_entry(world, uri)
    assert again.returncode == 0, again.stderr
    assert world.amounts() == {1: "2.00", 2: "2.00"}
    assert world.ledger() == [(2, "run 2", 2)]
    left = Path(world.settings.lake.removeprefix("file://")).glob(f"receipts/payments/run=202/1/{world.name}.load.json")
    receipt = Receipt.model_validate_json(next(left).read_text())
    assert (receipt.verdict, receipt.published, receipt.loaded, receipt.warehouse_rows) == ("done", 2, 2, 2)


def test_two_loaders_at_once_load_once(world: World) -> None:
    for number in range(3):
        world.publish(
            [payment(number, f"{number}.00"), payment(100, f"{number}.00", updated_at=NOON.replace(second=number))]
        )
    together = threading.Barrier(2)
    receipts: list[Receipt] = []

    def loader(run_id: str) -> None:
        together.wait()
        receipts.append(world.load(run_id))

    threads = [threading.Thread(target=loader, args=(f"loader {n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(receipts) == 2
    assert world.amounts() == {0: "0.00", 1: "1.00", 2: "2.00", 100: "2.00"}
    assert world.ledger() == [(3, "run 3", 2)]
    assert {receipt.warehouse_rows for receipt in receipts} == {4}


def test_a_commit_whose_reply_is_lost_is_seen_in_the_ledger(world: World) -> None:
    world.publish([payment(1), payment(2)])
    lost: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        if b"COMMIT TRANSACTION" in body and b"MERGE" in body and not lost:
            lost.append(path)
            return None
        return answer

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        receipt = world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))

    assert lost
    assert (receipt.verdict, receipt.loaded, receipt.warehouse_rows) == ("done", 2, 2)
    assert world.ledger() == [(1, "run 1", 2)]


def test_a_job_that_was_submitted_before_is_fetched_not_repeated(world: World) -> None:
    world.publish([payment(1)])
    seen: dict[str, int] = {}
    with endpoint(str(world.settings.warehouse_endpoint), once_a_job(seen)) as address:
        settings = world.settings.model_copy(update={"warehouse_endpoint": address})
        ours = {**world.environment(), "LAKEFERRY_WAREHOUSE_ENDPOINT": address}
        uri = world.write_plan("run 1")
        killed = subprocess.run(
            [sys.executable, str(CHECKOUT / "jobs/load.py"), "--plan", uri],
            env={**os.environ, **ours, "LAKEFERRY_CRASH_AT": "load.staged"},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == 137
        receipt = world.load(settings=settings)

    assert receipt.warehouse_rows == 1
    staged = [name for name, times in seen.items() if name.endswith("_0") and "commit" not in name and times == 2]
    assert len(staged) == 1
    assert not [name for name in seen if name.endswith("_1")]


def test_a_failed_job_is_tried_again_under_the_next_name(world: World) -> None:
    world.make_narrow()
    world.publish([payment(1, "12345.00")])
    seen: dict[str, int] = {}
    with endpoint(str(world.settings.warehouse_endpoint), once_a_job(seen)) as address:
        settings = world.settings.model_copy(update={"warehouse_endpoint": address})
        with pytest.raises(LoadRefused):
            world.load(settings=settings)
        world.client.delete_table(world.table)
        receipt = world.load(settings=settings)
    assert receipt.warehouse_rows == 1
    assert [name for name in seen if name.endswith("_commit_1")]


def test_a_ledger_of_another_lake_is_seen(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.set_ledger("batch = 7")
    with pytest.raises(ConfigurationError, match="says batch 7 is loaded, the lake has published 1"):
        world.load()


def test_a_table_dropped_behind_the_ledgers_back_is_seen(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.client.delete_table(world.table)
    with pytest.raises(ObjectNotFound, match=r"is gone from BigQuery, while \S+ says batch 1 is loaded"):
        world.load()


def test_a_table_renamed_in_the_spec_is_not_loaded_in_part(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.publish([payment(2)])
    dataset = world.spec.datasets[0]
    target = dataset.bigquery.model_copy(update={"table": f"{world.table}_renamed"})
    spec = world.spec.model_copy(update={"datasets": [dataset.model_copy(update={"bigquery": target})]})
    with pytest.raises(ConfigurationError, match=f"the batches up to 1 are in {world.table}"):
        replace(world, spec=spec).load()
    with pytest.raises(NotFound):
        world.client.get_table(target.table)
    assert world.load().loaded == 1
