"""The load stage against the BigQuery emulator, from a raw table as check leaves it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bigquery_contract import documented, once_a_job
from faulty_endpoint import Answer, endpoint, job_id
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from load_world import EVENTS, KAFKA, NOON, PAYMENTS, SALES, World, payment
from merge_reading import days_in, merges_of

from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    LoadRefused,
    ObjectNotFound,
    ServiceUnavailable,
    SpecError,
)
from jobs.receipts import Receipt
from jobs.settings import CHECKOUT

MakeWorld = Callable[..., World]


def amounts(world: World) -> dict[int, str]:
    return {row["payment_id"]: f"{row['amount']:.2f}" for row in world.rows("payment_id")}


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
    assert amounts(world) == {1: "2.00", 2: "1.00", 3: "2.00", 4: "2.00", 5: "1.00", 6: "2.00"}


def test_merge_takes_the_newest_of_one_key_in_one_batch(world: World) -> None:
    world.publish(
        [payment(1, "3.00", updated_at=NOON.replace(hour=13)), payment(1), payment(1, "2.00", updated_at=None)]
    )
    receipt = world.load()

    assert amounts(world) == {1: "3.00"}
    assert (receipt.loaded, receipt.warehouse_rows) == (3, 1)


def test_batches_nobody_loaded_are_brought_in_order(world: World) -> None:
    world.publish([payment(1), payment(2)])
    world.publish([payment(2, "2.00"), payment(3, "2.00")])
    world.publish([])

    receipt = world.load("run 3")

    assert amounts(world) == {1: "1.00", 2: "2.00", 3: "2.00"}
    assert world.ledger() == [(3, "run 3", 0)]
    assert receipt.details["batches"] == [1, 2, 3]
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

    assert sorted(amounts(world)) == [4, 5]
    assert world.ledger() == [(3, "run 3", 2)]
    assert (receipt.details["batches"], receipt.details["passed_over"], receipt.loaded) == ([3], [2], 2)

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
        "transform": "jobs.transforms.merchant_sales:daily",
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


def test_a_replayed_load_changes_nothing(world: World) -> None:
    world.publish([payment(1), payment(2)])
    world.publish([payment(1, "2.00", updated_at=NOON.replace(hour=13))])
    world.load()
    before = world.rows("payment_id")
    ledger = f"{world.settings.warehouse_ledger_dataset}.ledger"
    world.values(f"UPDATE {ledger} SET batch = 0 WHERE dataset = '{world.name}'")

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
    # A package that was looked for in vain is told, too; one that is there brings modules of its own.
    imported = {name.split(".")[0] for name in names if "." in name}
    assert "pyarrow" in imported
    assert not imported & {"pandas", "pyspark", "great_expectations"}
    assert amounts(world) == {1: "1.00"}


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
    assert amounts(world) == ({1: "2.00", 2: "2.00"} if committed else {1: "1.00"})

    again = run_entry(world, uri)
    assert again.returncode == 0, again.stderr
    assert amounts(world) == {1: "2.00", 2: "2.00"}
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
    assert amounts(world) == {0: "0.00", 1: "1.00", 2: "2.00", 100: "2.00"}
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
    make_narrow(world)
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


def make_narrow(world: World) -> None:
    """A table the user made, whose amounts have three digits before the point."""
    world.client.create_dataset(world.table.split(".")[0])
    world.values(f"CREATE TABLE {world.table} (payment_id INT64, amount NUMERIC(5, 2))")


def test_a_value_bigquery_refuses_leaves_everything_as_it_was(world: World) -> None:
    make_narrow(world)
    world.publish([payment(1)])
    world.load()
    world.publish([payment(1, "2.00"), payment(2, "12345.00")])

    with pytest.raises(
        LoadRefused, match=r"pipeline payments dataset payments_\S+: BigQuery .* refuses: .*12345"
    ) as told:
        world.load()
    assert told.value.exit_code == 1
    assert amounts(world) == {1: "1.00"}
    assert world.ledger() == [(1, "run 1", 1)]


def test_counts_that_do_not_agree_are_refused(world: World) -> None:
    world.publish([payment(1)], told_rows=2)
    with pytest.raises(LoadRefused, match=r"published with 2 rows, .* holds 1"):
        world.load()
    assert world.ledger() == [(0, None, 0)]


def test_a_key_with_null_is_refused(world: World) -> None:
    world.publish([payment(1), payment(None)])
    with pytest.raises(LoadRefused, match=r"1 rows of batch 1 have NULL in their key \(payment_id\)"):
        world.load()
    assert world.rows() == []


def test_a_new_column_is_added(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.columns = {**PAYMENTS, "channel": "string"}
    world.publish([payment(2, channel="app")])
    world.load()
    assert world.values(f"SELECT payment_id, channel FROM {world.table} ORDER BY 1") == [(1, None), (2, "app")]


def test_a_column_of_another_type_is_the_users_to_settle(world: World) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    text = [bigquery.SchemaField("payment_id", "STRING")]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=text))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match="column 'payment_id' is STRING in BigQuery and INT64 in the lake"):
        world.load()


def test_a_table_made_narrower_is_widened_and_relaxed(world: World) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    made = [
        bigquery.SchemaField("payment_id", "INT64", mode="REQUIRED"),
        bigquery.SchemaField("amount", "INT64", mode="REQUIRED"),
        bigquery.SchemaField("merchant_id", "NUMERIC"),
        bigquery.SchemaField("theirs", "STRING", mode="REQUIRED"),
    ]
    name = f"{world.client.project}.{world.table}"
    world.client.create_table(bigquery.Table(name, schema=made))
    world.publish([payment(1, "1.25")])
    world.load()
    # Without widening the fraction would be rounded away.
    assert world.values(f"SELECT payment_id, amount, merchant_id FROM {world.table}") == [
        (1, Decimal("1.25"), payment(1)["merchant_id"])
    ]
    modes = {field.name: field.mode for field in world.client.get_table(name).schema}
    assert (modes["payment_id"], modes["amount"], modes["theirs"]) == ("NULLABLE", "NULLABLE", "REQUIRED")


@pytest.mark.parametrize(
    ("kind", "mode", "said"),
    [("FLOAT64", "NULLABLE", "is FLOAT64 in BigQuery and NUMERIC"), ("NUMERIC", "REPEATED", "is REPEATED NUMERIC")],
)
def test_a_column_bigquery_cannot_change_stops_the_load(world: World, kind: str, mode: str, said: str) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    amount = [bigquery.SchemaField("amount", kind, mode=mode)]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=amount))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match=f"column 'amount' {said}"):
        world.load()
    assert [field.name for field in world.client.get_table(world.table).schema] == ["amount"]


def test_a_table_partitioned_otherwise_is_the_users_to_settle(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.client.create_dataset(world.table.split(".")[0])
    plain = [bigquery.SchemaField("payment_id", "INT64")]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=plain))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match="partitioned by nothing in BigQuery, the spec says created_at"):
        world.load()


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
    assert amounts(world) == {0: "2.00", 1: "2.00", 2: "1.00", 3: "1.00", 9: "1.00"}
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
    assert amounts(world) == {1: "1.00", 2: "1.00"}


def test_a_table_whose_key_holds_the_partition_is_not_asked_where_its_rows_are(world_of: MakeWorld) -> None:
    dataset = {"primary_key": ["payment_id", "created_at"]}
    world = world_of(dataset=dataset, bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(1), payment(2, created_at=NOON.replace(day=1))])
    world.load()
    world.publish([payment(1, "2.00")])
    (merge,) = merges_of(world)
    assert days_in(merge, "created_at") == [("2026-11-20", "2026-11-21")]
    assert amounts(world) == {1: "2.00", 2: "1.00"}


def test_a_table_without_partitions_is_merged_by_its_key_alone(world: World) -> None:
    world.publish([payment(1)])
    (merge,) = merges_of(world)
    assert merge.args["on"].sql("bigquery") == "T.`payment_id` = S.`payment_id`"


def test_a_ledger_of_another_lake_is_seen(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.values(
        f"UPDATE {world.settings.warehouse_ledger_dataset}.ledger SET batch = 7 WHERE dataset = '{world.name}'"
    )
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


def test_a_service_that_is_down_is_said_at_once(world: World) -> None:
    world.publish([payment(1)])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port}. does not answer") as down:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": f"http://127.0.0.1:{port}"}))
    assert time.monotonic() - started < 15
    assert (down.value.pipeline, down.value.dataset) == ("payments", world.name)


def test_a_service_that_accepts_and_says_nothing_is_said_within_15_seconds(world: World) -> None:
    world.publish([payment(1)])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("refused", "error", "exit_code"),
    [
        ("access denied", AccessDenied, 2),
        ("quota", ServiceUnavailable, 3),
        ("rate limit", ServiceUnavailable, 3),
    ],
)
def test_a_refused_login_or_right_is_the_users_a_quota_is_not(
    world: World, refused: str, error: type[Exception], exit_code: int
) -> None:
    world.publish([payment(1)])

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        return documented(refused, what="this")

    with (
        endpoint(str(world.settings.warehouse_endpoint), fault) as address,
        pytest.raises(error, match=r"this|rate limits") as told,
    ):
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert getattr(told.value, "exit_code", None) == exit_code


def test_a_transaction_bigquery_cancels_for_another_is_tried_again(world: World) -> None:
    world.publish([payment(1)])
    cancelled: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body and b"MERGE" in body and len(cancelled) < 2:
            cancelled.append(str(job_id(path, body)))
            return documented("transaction cancelled", table="ledger")
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        receipt = world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert len(cancelled) == 2
    assert receipt.warehouse_rows == 1
