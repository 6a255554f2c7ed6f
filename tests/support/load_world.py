"""A lake in a folder, a raw table made with PyIceberg, a BigQuery dataset of its own: the world load tests play in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
)

from connectors.base import Column, ReadPlan
from jobs.lake import batch_log as batches
from jobs.lake.catalog import open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.names import RAW
from jobs.runs.plan_document import DatasetPlan, Plan
from jobs.runs.receipts import Receipt, Receipts
from jobs.runs.row_identity import row_identity
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.stages.load.load import load_dataset

TYPES: dict[str, IcebergType] = {
    "bigint": LongType(),
    "int": IntegerType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
    "timestamp_ntz": TimestampType(),
    "decimal(18,2)": DecimalType(18, 2),
    "decimal(38,18)": DecimalType(38, 18),
    "decimal(38,9)": DecimalType(38, 9),
    "decimal(20,0)": DecimalType(20, 0),
    "boolean": BooleanType(),
    "float": FloatType(),
    "double": DoubleType(),
    "binary": BinaryType(),
}
TECHNICAL = {"_run_id": "string", "_batch": "bigint", "_slice": "int"}

PAYMENTS = {
    "payment_id": "bigint",
    "merchant_id": "int",
    "amount": "decimal(18,2)",
    "memo": "string",
    "paid_at": "timestamp",
    "created_at": "timestamp_ntz",
    "updated_at": "timestamp_ntz",
}
EVENTS = {
    "event_id": "string",
    "occurred_at": "timestamp",
    "_kafka_partition": "int",
    "_kafka_offset": "bigint",
    "_kafka_timestamp": "timestamp",
}
SALES = {"business_date": "date", "merchant_id": "bigint", "sales": "decimal(18,2)"}

AURORA = {"type": "aurora", "connection": "aurora_payments"}
KAFKA = {"type": "kafka", "connection": "kafka_events"}


NOON = datetime(2026, 11, 20, 12, 0, 0, 123456)


def payment(payment_id: int | None, amount: str = "1.00", **changes: Any) -> dict[str, Any]:
    return {
        "payment_id": payment_id,
        "merchant_id": 7,
        "amount": Decimal(amount),
        "memo": None,
        "paid_at": None,
        "created_at": NOON,
        "updated_at": NOON,
        **changes,
    }


@dataclass
class World:
    """One dataset `name` with its lake and its warehouse; `table` is `dataset.table` in BigQuery."""

    settings: Settings
    name: str
    table: str
    columns: Mapping[str, str]
    spec: PipelineSpec
    client: bigquery.Client
    published: int = 0
    run_ids: list[str] = field(default_factory=list)
    source_columns: tuple[Column, ...] = ()

    def publish(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        run_id: str = "",
        partitions: Sequence[str] | None = None,
        told_rows: int | None = None,
    ) -> int:
        """Put a batch on `main` as check leaves it, sealed; `told_rows` is what the seal says instead of the truth."""
        self.published += 1
        run_id = run_id or f"run {self.published}"
        catalog = open_catalog(self.settings)
        catalog.create_namespace_if_not_exists(RAW)
        types = {**self.columns, **TECHNICAL}
        rejected = NestedField(len(types) + 1, "_rejected", StructType(NestedField(90, "reason", StringType())))
        schema = Schema(*(NestedField(i, n, TYPES[t]) for i, (n, t) in enumerate(types.items(), 1)), rejected)
        table = catalog.create_table_if_not_exists((RAW, self.name), schema)
        if [f.name for f in table.schema().fields if f.name != "_rejected"] != list(types):
            with table.update_schema() as update:
                for name, kind in types.items():
                    if name not in table.schema().column_names:
                        update.add_column(name, TYPES[kind])
        full = [{**row, "_run_id": run_id, "_batch": self.published, "_slice": 0} for row in rows]
        properties = {
            batches.SEALED: "true",
            batches.BATCH: str(self.published),
            batches.RUN_ID: run_id,
            batches.GENERATION: "1",
            batches.ROWS: str(len(rows) if told_rows is None else told_rows),
            batches.QUARANTINED: "0",
        }
        if partitions is not None:
            properties[batches.PARTITIONS] = json.dumps(list(partitions))
        arrow = pa.Table.from_pylist(full, schema=table.schema().as_arrow())
        table.append(arrow, snapshot_properties=properties)
        return self.published

    def plan(self, run_id: str) -> Plan:
        source = ReadPlan(columns=self.source_columns) if self.source_columns else None
        identity = row_identity(self.spec, self.spec.datasets[0])
        entry = DatasetPlan(
            name=self.name,
            generation=1,
            state="planned",
            batch=self.published,
            source=source,
            identity=identity,
            lake_columns=(*self.source_columns, *identity.columns),
        )
        return Plan(
            pipeline=self.spec.pipeline,
            run_id=run_id,
            generation=1,
            created_at="2026-11-20T00:00:00+00:00",
            spec=self.spec,
            datasets=(entry,),
            uri=f"{self.settings.lake}/plans/{self.spec.pipeline}/{run_id.replace(' ', '=20')}/1.json",
        )

    def load(self, run_id: str = "", settings: Settings | None = None) -> Receipt:
        plan = self.plan(run_id or f"run {self.published}")
        return load_dataset(plan, plan.datasets[0], settings or self.settings)

    def write_plan(self, run_id: str, *, checked: bool = True) -> str:
        """The plan's document and, where `checked`, the receipt check leaves when it publishes; the plan's URI."""
        plan = self.plan(run_id)
        documents = open_documents(self.settings.lake)
        documents.create(plan.uri.removeprefix(documents.root + "/"), plan.model_dump_json())
        if checked:
            receipt = Receipt(
                pipeline=plan.pipeline, run_id=run_id, generation=1, stage="check", dataset=self.name, verdict="done"
            )
            Receipts(documents).leave(receipt)
        return plan.uri

    def rows(self, order: str = "1") -> list[dict[str, Any]]:
        """Returns the rows in BigQuery, read with a client of the test's own."""
        return [dict(row.items()) for row in self.client.query(f"SELECT * FROM {self.table} ORDER BY {order}").result()]

    def amounts(self) -> dict[int, str]:
        """Amounts of the payments in the warehouse, by key."""
        return {row["payment_id"]: f"{row['amount']:.2f}" for row in self.rows("payment_id")}

    def make_narrow(self) -> None:
        """A table the user made, whose amounts have three digits before the point."""
        self.client.create_dataset(self.table.split(".")[0])
        self.values(f"CREATE TABLE {self.table} (payment_id INT64, amount NUMERIC(5, 2))")

    def values(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.client.query(sql).result()]

    @property
    def ledger_table(self) -> str:
        return f"{self.settings.warehouse_ledger_dataset}.ledger_{self.name}"

    def ledger(self) -> list[tuple[Any, ...]]:
        """(batch, run, rows) of every row of the dataset's ledger."""
        return self.values(f"SELECT batch, run_id, `rows` FROM {self.ledger_table}")

    def set_ledger(self, assignments: str) -> None:
        """Change the ledger's row by hand."""
        self.values(f"UPDATE {self.ledger_table} SET {assignments} WHERE TRUE")

    def staging_tables(self) -> list[str]:
        tables = self.client.list_tables(self.settings.warehouse_ledger_dataset)
        return [table.table_id for table in tables if table.table_id.startswith("staging_")]

    def environment(self) -> dict[str, str]:
        """What a child process needs to play in the same world."""
        return {
            "LAKEFERRY_LAKE": self.settings.lake,
            "LAKEFERRY_CATALOG": self.settings.catalog,
            "LAKEFERRY_WAREHOUSE_LEDGER_DATASET": self.settings.warehouse_ledger_dataset,
        }


def make_world(
    settings: Settings,
    folder: Path,
    mark: str,
    *,
    columns: Mapping[str, str] = PAYMENTS,
    source: Mapping[str, str] | None = AURORA,
    dataset: Mapping[str, Any] | None = None,
    bigquery_spec: Mapping[str, Any] | None = None,
) -> World:
    """A world whose names all end in `mark`."""
    name, warehouse = f"payments_{mark}", f"shop_{mark}"
    own = {
        "name": name,
        "description": "One row a payment",
        "primary_key": ["payment_id"],
        "write_disposition": "merge",
        "options": {"table": "shop.payments", "cursor": "updated_at"},
        **(dataset or {}),
        "bigquery": {"table": f"{warehouse}.payments", **(bigquery_spec or {})},
    }
    spec = PipelineSpec.model_validate(
        {"pipeline": "payments", "source": source, "datasets": [own], "file": "payments.yaml"}
    )
    settings = settings.model_copy(
        update={
            "lake": f"file://{folder}/lake",
            "catalog": f"sqlite:///{folder}/catalog.db",
            "warehouse_ledger_dataset": f"ferry_{mark}",
        }
    )
    (folder / "lake").mkdir()
    client = open_client(settings)
    return World(settings, name, f"{warehouse}.payments", columns, spec, client)


def open_client(settings: Settings) -> bigquery.Client:
    return bigquery.Client(
        project=settings.warehouse_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.warehouse_endpoint},
    )


def remove(world: World) -> None:
    for dataset in (world.table.split(".")[0], world.settings.warehouse_ledger_dataset):
        world.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
