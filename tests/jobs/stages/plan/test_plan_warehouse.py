"""Plan reports tables in BigQuery that cannot follow the spec, before anything moves."""

from __future__ import annotations

import json
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from connectors.errors import ConfigurationError, LakeAltered
from jobs.lake.batch_log import published_batches
from jobs.lake.catalog import ensure_namespaces, find_table, open_catalog
from jobs.lake.names import RAW
from jobs.runs.plan_document import DatasetPlan
from jobs.spec.reader import load_pipeline
from jobs.stages.plan.planner import draft_plan
from jobs.stages.plan.warehouse_preview import WarehouseLook
from tests.e2e.ferry import OwnDatabase
from tests.jobs.stages.load.test_load_relayout import moved
from tests.support.bigquery_contract import documented
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import World, payment

MONTHS = "partition_by: created_at, partition_granularity: month"


class Shop:
    """A table at Aurora, the pipeline that moves it, and the BigQuery dataset of a world it goes to."""

    def __init__(self, world: World, aurora: OwnDatabase, folder: Path) -> None:
        aurora.execute("CREATE TABLE payments (payment_id BIGINT PRIMARY KEY, created_at DATETIME NOT NULL)")
        aurora.execute("INSERT INTO payments VALUES (1, '2026-11-20')")
        self.world, self.source = world, f"{aurora.name}.payments"
        self.settings = world.settings.model_copy(
            update={"pipelines": folder, "expectations": folder, "datasets_in_parallel": 2}
        )
        ensure_namespaces(open_catalog(self.settings))

    def plan(self, layout: str, **settings: Any) -> tuple[DatasetPlan, DatasetPlan]:
        """The plan of the dataset, and of another one beside it that nothing is wrong with."""
        text = f"""\
            pipeline: shop
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: {self.world.name}
                table: {self.source}
                primary_key: [payment_id]
                write_disposition: merge
                bigquery: {{{layout}}}
              - name: other_{self.world.name}
                table: {self.source}
                primary_key: [payment_id]
                write_disposition: merge
                bigquery: {{table: {self.world.table}_other}}
            """
        (self.settings.pipelines / "shop.yaml").write_text(textwrap.dedent(text))
        changed = self.settings.model_copy(update=settings)
        first, second = draft_plan(load_pipeline(changed.pipelines, "shop"), "draft", changed).datasets
        return first, second

    def make_table(self, name: str) -> None:
        self.world.client.create_dataset(self.world.table.split(".")[0], exists_ok=True)
        self.world.values(f"CREATE TABLE {name} (payment_id INT64, created_at DATETIME)")


@pytest.fixture
def shop(world: World, aurora: OwnDatabase, tmp_path: Path) -> Shop:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    return Shop(world, aurora, folder)


def test_another_partitioning_is_said_with_line_and_way_out_and_the_other_dataset_moves(shop: Shop) -> None:
    shop.make_table(shop.world.table)
    failed, other = shop.plan(f"table: {shop.world.table}, {MONTHS}")
    assert (failed.state, other.state) == ("failed", "planned")
    assert failed.failure is not None
    assert failed.failure.exit_code == 2
    assert failed.failure.error.startswith(
        f"shop.yaml:8 pipeline shop dataset {shop.world.name}: {shop.world.table} is"
    )
    assert "partitioned by nothing in BigQuery, the spec says created_at by month" in failed.failure.error
    assert "name another bigquery.table and write relayout: copy" in failed.failure.error

    # The way out: where it was loaded, the rows are copied.
    for number in (1, 2, 3, 4):
        shop.world.publish([payment(number)], run_id=f"run {number}")
    ledger = shop.world.settings.warehouse_ledger_dataset
    shop.world.client.create_dataset(ledger)
    shop.world.values(
        f"CREATE TABLE {ledger}.ledger AS SELECT '{shop.world.name}' AS dataset, 4 AS batch, 'run 4' AS run_id, "
        f"1 AS `rows`, CURRENT_TIMESTAMP() AS loaded_at, '{shop.world.table}' AS target"
    )
    elsewhere = f"table: {shop.world.table}_2, {MONTHS}"
    refused, _ = shop.plan(elsewhere)
    assert refused.failure is not None
    assert f"the batches up to 4 are in {shop.world.table}" in refused.failure.error
    assert "write relayout: copy" in refused.failure.error
    planned, _ = shop.plan(f"{elsewhere}, relayout: copy")
    assert planned.state == "planned"
    assert planned.source is not None
    [warning] = [text for text in planned.source.warnings if "relayout" in text]
    assert warning.startswith(f"load copies all rows of {shop.world.table}")


def test_rows_that_would_expire_at_once_are_counted(shop: Shop, aurora: OwnDatabase) -> None:
    aurora.execute("INSERT INTO payments VALUES (2, '2015-01-01'), (3, '2015-12-31 23:59:59'), (4, UTC_TIMESTAMP())")
    aurora.execute("UPDATE payments SET created_at = UTC_TIMESTAMP() WHERE payment_id = 1")
    planned, _ = shop.plan(f"table: {shop.world.table}, partition_by: created_at, partition_expiration_days: 30")
    assert planned.source is not None
    [warning] = [text for text in planned.source.warnings if "expired" in text]
    assert warning.startswith("2 rows of this batch lie in partitions of ")
    assert "partition_expiration_days: 30" in warning

    aurora.execute("DELETE FROM payments WHERE payment_id IN (2, 3)")
    for layout in ("partition_by: created_at, partition_expiration_days: 30", "partition_by: created_at"):
        quiet, _ = shop.plan(f"table: {shop.world.table}, {layout}")
        assert quiet.source is not None
        assert not [text for text in quiet.source.warnings if "expired" in text]


def test_rows_that_a_shorter_life_of_partitions_removes_are_counted(shop: Shop) -> None:
    shop.world.client.create_dataset(shop.world.table.split(".")[0], exists_ok=True)
    table = bigquery.Table(
        f"{shop.world.settings.warehouse_project}.{shop.world.table}",
        schema=[bigquery.SchemaField("payment_id", "INT64"), bigquery.SchemaField("created_at", "DATETIME")],
    )
    table.time_partitioning = bigquery.TimePartitioning(field="created_at")
    shop.world.client.create_table(table)
    shop.world.values(
        f"INSERT INTO {shop.world.table} VALUES (8, DATETIME '2015-01-01'), (9, DATETIME '2026-11-01'), (7, NULL)"
    )
    layout = f"table: {shop.world.table}, partition_by: created_at"
    planned, _ = shop.plan(f"{layout}, partition_expiration_days: 3650")
    assert planned.source is not None
    [warning] = [text for text in planned.source.warnings if "expired" in text]
    assert warning.startswith("1 rows of the table lie in partitions of ")

    # If a table has that life already, load removes nothing more.
    table.time_partitioning = bigquery.TimePartitioning(field="created_at", expiration_ms=3650 * 86_400_000)
    shop.world.client.update_table(table, ["time_partitioning"])
    for text in (f"{layout}, partition_expiration_days: 3650", layout):
        quiet, _ = shop.plan(text)
        assert quiet.source is not None
        assert not [warning for warning in quiet.source.warnings if "expired" in warning]


def test_a_column_of_another_type_is_said(shop: Shop) -> None:
    shop.make_table(shop.world.table)
    shop.world.client.delete_table(shop.world.table)
    shop.world.values(f"CREATE TABLE {shop.world.table} (payment_id STRING)")
    failed, _ = shop.plan(f"table: {shop.world.table}")
    assert failed.failure is not None
    assert "column 'payment_id' is STRING in BigQuery and INT64 in the lake" in failed.failure.error


def test_a_warehouse_that_is_down_or_refuses_stops_no_plan(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.make_table(shop.world.table)
    layout = f"table: {shop.world.table}, {MONTHS}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def skipped() -> list[str]:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line["reason"] for line in lines if line["event"] == "skipped"]

    planned = shop.plan(layout, warehouse_endpoint=f"http://127.0.0.1:{port}")
    assert [entry.state for entry in planned] == ["planned", "planned"]
    [reason] = skipped()
    assert reason.startswith("the tables in BigQuery were not checked: BigQuery (http://127.0.0.1:")

    def denied(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        return documented("access denied", what="Not for you") if "/tables/" in path else forward()

    with endpoint(str(shop.settings.warehouse_endpoint), denied) as address:
        planned = shop.plan(layout, warehouse_endpoint=address)
    assert [entry.state for entry in planned] == ["planned", "planned"]
    assert all("Not for you" in reason for reason in skipped())


def test_nothing_is_run_or_billed_to_look(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    sent: list[tuple[str, str]] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        sent.append((method, path))
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), listen) as address:
        settings = world.settings.model_copy(update={"warehouse_endpoint": address})
        raw = find_table(open_catalog(settings), RAW, world.spec.datasets[0].name)
        published = published_batches(raw)
        assert WarehouseLook(settings).look(world.spec.datasets[0], lambda: (raw, published)) == ()
        same = moved(world, table=world.table, partition_by="created_at")
        with pytest.raises(ConfigurationError, match="partitioned by nothing in BigQuery, the spec says created_at"):
            WarehouseLook(settings).look(same.spec.datasets[0], lambda: (raw, published))
        renamed = moved(world, relayout="refuse")
        with pytest.raises(ConfigurationError, match=f"batches up to 1 are in {world.table}: .*{world.ledger_table}"):
            WarehouseLook(settings).look(renamed.spec.datasets[0], lambda: (raw, published))
        with pytest.raises(LakeAltered, match="is gone or has no batch, and the ledger"):
            WarehouseLook(settings).look(world.spec.datasets[0], lambda: (None, []))
    assert {method for method, _ in sent} == {"GET"}
    assert not [path for _, path in sent if "/jobs" in path or "/queries" in path]
