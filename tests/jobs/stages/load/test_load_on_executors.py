"""A large batch on its way to the bucket: Spark's tasks write and copy it, and it arrives as one through the driver."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pyiceberg.table import Table

from connectors.errors import AccessDenied, CopyDiffers, LakeferryError, LoadRefused, ObjectNotFound, ServiceUnavailable
from jobs.lake.catalog import open_catalog
from jobs.lake.names import RAW
from jobs.runs.receipts import Receipt
from jobs.stages.load import executor_transport as transport_on_executors
from jobs.stages.load import staging
from jobs.stages.load.load import load_dataset
from tests.support.bigquery_contract import documented
from tests.support.faulty_endpoint import Answer, configuration, endpoint, refusal
from tests.support.load_world import World, payment
from tests.support.storage_stand_in import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

ROWS = 40
FILES = 7
AMOUNTS = {number: Decimal(number) / 100 for number in range(1, ROWS + 1)}


@pytest.fixture(autouse=True)
def task_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_on_executors, "SHARE_BYTES", 1)


@pytest.fixture
def ferried(world: World) -> World:
    """A world whose one batch lies in the lake in several files."""
    world.publish([payment(0, "0.00")])
    world.load()
    raw = open_catalog(world.settings).load_table((RAW, world.name))
    with raw.transaction() as change:
        change.set_properties({"write.target-file-size-bytes": "600"})
    world.publish([payment(number, str(amount)) for number, amount in AMOUNTS.items()])
    assert len(data_files(world)) == FILES
    return world


def data_files(world: World) -> list[str]:
    raw: Table = open_catalog(world.settings).load_table((RAW, world.name))
    return [task.file.file_path for task in raw.scan(row_filter="_batch = 2").plan_files()]


def load(
    world: World, storage: Storage, spark: SparkSession, *, warehouse: str = "", address: str = "", from_bytes: int = 1
) -> Receipt:
    changed = {
        "warehouse_bucket": f"gs://{storage.bucket}/lakeferry",
        "warehouse_bucket_endpoint": address or storage.address,
        "warehouse_endpoint": warehouse or world.settings.warehouse_endpoint,
        "warehouse_spread_bytes": from_bytes,
    }
    plan = world.plan("run 2")
    return load_dataset(plan, plan.datasets[0], world.settings.model_copy(update=changed), lambda: spark)


def amounts(world: World) -> dict[int, Decimal]:
    return {row["payment_id"]: row["amount"] for row in world.rows("payment_id") if row["payment_id"]}


def jobs_to(loads: list[list[str]], status: int = 200) -> Callable[..., Answer | None]:
    """Listen to load jobs; refuse them with a status other than 200."""

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body).get("load")
        if asked:
            loads.append(asked["sourceUris"])
            if status != 200:
                return documented("backend")
        return forward()

    return fault


def test_tasks_copy_their_files_and_one_job_loads_them(
    ferried: World, storage: Storage, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The driver's own way is closed; tasks are other processes.
    monkeypatch.delattr(staging, "write_parquet")
    loads: list[list[str]] = []
    with endpoint(str(ferried.settings.warehouse_endpoint), jobs_to(loads)) as address:
        receipt = load(ferried, storage, spark, warehouse=address)

    assert (receipt.loaded, receipt.warehouse_rows) == (ROWS, ROWS + 1)
    assert amounts(ferried) == AMOUNTS
    (uris,) = loads
    assert [uri.rsplit("/", 2)[1:] for uri in uris] == [[f"{n:05}", "00000.parquet"] for n in range(FILES)]
    assert len(storage.sent) == FILES
    # Committed, so cleared.
    assert storage.names() == []
    assert ferried.staging_tables() == []


def test_the_fingerprint_is_that_of_the_way_through_the_driver(
    ferried: World, storage: Storage, spark: SparkSession
) -> None:
    spread = load(ferried, storage, spark)
    ferried.set_ledger("batch = 1")
    alone = load(ferried, storage, spark, from_bytes=10**12)
    assert spread.details.batches == alone.details.batches == [2]
    assert spread.details.fingerprint == alone.details.fingerprint
    assert amounts(ferried) == AMOUNTS


def test_a_copy_that_was_broken_off_is_taken_up(ferried: World, storage: Storage, spark: SparkSession) -> None:
    with (
        endpoint(str(ferried.settings.warehouse_endpoint), jobs_to([], status=503)) as address,
        pytest.raises(ServiceUnavailable),
    ):
        load(ferried, storage, spark, warehouse=address)
    first, *_, last = storage.names()
    (storage.folder / first).unlink()
    storage.damage(last)
    storage.sent.clear()

    load(ferried, storage, spark)
    assert sorted(storage.sent) == [first, last]
    assert amounts(ferried) == AMOUNTS


@pytest.mark.parametrize(
    ("status", "reason", "error"), [(404, "notFound", ObjectNotFound), (403, "forbidden", AccessDenied)]
)
def test_what_a_task_meets_is_told_as_if_the_driver_had_met_it(
    ferried: World,
    storage: Storage,
    spark: SparkSession,
    status: int,
    reason: str,
    error: type[LakeferryError],
) -> None:
    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        return refusal(status, reason, "not today") if "/00002/" in path or b"/00002/" in body else forward()

    with endpoint(storage.address, fault) as address, pytest.raises(error, match="not today") as told:
        load(ferried, storage, spark, address=address)
    assert told.value.dataset == ferried.name
    assert ferried.ledger() == [(1, "run 1", 1)]
    load(ferried, storage, spark)
    assert amounts(ferried) == AMOUNTS


def test_bytes_that_change_on_the_way_are_refused(ferried: World, storage: Storage, spark: SparkSession) -> None:
    storage.garbled.add("/00001/00000.parquet")
    with pytest.raises(CopyDiffers, match=r"00001/00000\.parquet did not arrive as it was sent: nothing was loaded"):
        load(ferried, storage, spark)
    assert ferried.ledger() == [(1, "run 1", 1)]


def test_rows_that_are_gone_from_the_lake_are_missed(world: World, storage: Storage, spark: SparkSession) -> None:
    world.publish([payment(1, "1.00"), payment(2, "2.00")], told_rows=3)
    plan = world.plan("run 1")
    changed = {
        "warehouse_bucket": f"gs://{storage.bucket}",
        "warehouse_bucket_endpoint": storage.address,
        "warehouse_spread_bytes": 1,
    }
    with pytest.raises(LoadRefused, match=r"batch 1 was published with 3 rows, raw\.\S+ holds 2 of it"):
        load_dataset(plan, plan.datasets[0], world.settings.model_copy(update=changed), lambda: spark)
    assert world.ledger() == [(0, None, 0)]
