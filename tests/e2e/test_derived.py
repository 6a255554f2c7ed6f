"""A derived dataset follows its inputs: exactly the partitions they touched, emptied ones emptied."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ferry import Ferry, OwnDatabase, events_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = (
    "CREATE TABLE payments (payment_id BIGINT PRIMARY KEY, merchant_id INT NOT NULL, amount DECIMAL(18,2) NOT NULL,"
    " currency CHAR(3), status ENUM('CREATED','AUTHORIZED','CAPTURED','REFUNDED','FAILED') NOT NULL,"
    " created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL, KEY (updated_at))",
    "CREATE TABLE merchants (merchant_id INT PRIMARY KEY, name VARCHAR(100), category VARCHAR(40), region VARCHAR(40),"
    " fee_rate DECIMAL(6,4), updated_at DATETIME(6), KEY (updated_at))",
)


@pytest.fixture
def shop(ferry: Ferry, aurora: OwnDatabase) -> tuple[str, str, str, str]:
    """Names of the two inputs' pipeline, the derived pipeline, its dataset and its BigQuery table."""
    mark = aurora.name
    for statement in SCHEMA:
        aurora.execute(statement)
    target = ferry.warehouse_dataset()
    tables = [
        f"  - {{name: {name}_{mark}, table: {mark}.{name}, primary_key: [{key}], cursor: updated_at, lag_seconds: 1,"
        f" write_disposition: merge, bigquery: {{table: {target}.{name}}}}}"
        for name, key in (("payments", "payment_id"), ("merchants", "merchant_id"))
    ]
    inputs = ferry.spec(
        f"pipeline: shop_{mark}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        + "\n".join(tables)
        + "\n"
    )
    derived = ferry.spec(
        f"""\
        pipeline: sales_{mark}
        schedule: {{after: [payments_{mark}, merchants_{mark}]}}
        datasets:
          - name: sales_{mark}
            inputs: [payments_{mark}, merchants_{mark}]
            transform: tests.e2e.transforms:daily
            primary_key: [business_date, merchant_id]
            write_disposition: overwrite_partitions
            bigquery: {{table: {target}.sales, partition_by: business_date}}
        """
    )
    return inputs, derived, f"sales_{mark}", f"{target}.sales"


def test_derived_data_follows_its_inputs(ferry: Ferry, aurora: OwnDatabase, shop: tuple[str, str, str, str]) -> None:
    inputs, derived, dataset, target = shop
    waiting = ferry.run(derived)
    assert [entry.state for entry in waiting.plan.datasets] == ["empty"]

    aurora.insert(
        "merchants",
        [(1, "さくら", "food", "東京", "0.0300", "2026-01-01"), (2, "富士", "books", None, "0.0250", "2026-01-01")],
    )
    aurora.insert(
        "payments",
        [
            # 15:00 UTC is midnight in Tokyo.
            (1, 1, "100.10", "JPY", "CAPTURED", "2026-01-01 14:59:59.999999", "2026-01-02 00:00:00"),
            (2, 1, "200.20", "JPY", "CAPTURED", "2026-01-01 15:00:00", "2026-01-02 00:00:00"),
            (3, 2, "0.03", "JPY", "CAPTURED", "2026-01-05 00:00:00", "2026-01-06 00:00:00"),
        ],
    )
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    assert _sales(ferry, target) == {
        (date(2026, 1, 1), 1): ("さくら", Decimal("100.10")),
        (date(2026, 1, 2), 1): ("さくら", Decimal("200.20")),
        (date(2026, 1, 5), 2): ("富士", Decimal("0.03")),
    }
    before = ferry.snapshot("curated", dataset)
    assert [entry.state for entry in ferry.run(derived).plan.datasets] == ["empty"]
    assert ferry.snapshot("curated", dataset) == before

    # A payment moves to another day: the day it leaves empties, the day it reaches appears.
    aurora.execute(
        "UPDATE payments SET created_at = '2026-01-07 00:00:00', updated_at = UTC_TIMESTAMP(6) WHERE payment_id = 3"
    )
    aurora.settle()
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    batch = ferry.published(dataset)[-1]
    assert batch.partitions == ("2026-01-05", "2026-01-07")
    assert set(_sales(ferry, target)) == {(date(2026, 1, 1), 1), (date(2026, 1, 2), 1), (date(2026, 1, 7), 2)}

    # A merchant is renamed: every day on which it sold is built again, and no other.
    aurora.execute("UPDATE merchants SET name = '新さくら', updated_at = UTC_TIMESTAMP(6) WHERE merchant_id = 1")
    aurora.settle()
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    assert ferry.published(dataset)[-1].partitions == ("2026-01-01", "2026-01-02")
    assert _sales(ferry, target)[date(2026, 1, 1), 1] == ("新さくら", Decimal("100.10"))


def test_pins_that_are_gone_are_planned_again(
    ferry: Ferry, aurora: OwnDatabase, shop: tuple[str, str, str, str], spark: SparkSession
) -> None:
    inputs, derived, dataset, target = shop
    payments = f"payments_{aurora.name}"
    aurora.insert("merchants", [(1, "さくら", "food", "東京", "0.0300", "2026-01-01")])
    captured = "(%s, 1, 5, 'JPY', 'CAPTURED', '2026-01-0%s 00:00:00', UTC_TIMESTAMP(6))"
    for number in (1, 2):
        aurora.execute(f"INSERT INTO payments VALUES {captured}", (number, number))
    aurora.settle()
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0

    # Another tool expires what a plan has pinned.
    aurora.execute("UPDATE payments SET amount = 7, updated_at = UTC_TIMESTAMP(6) WHERE payment_id = 2")
    aurora.settle()
    assert ferry.run(inputs).code == 0
    ferry.plan(derived, "pinned")
    aurora.execute("UPDATE payments SET amount = 8, updated_at = UTC_TIMESTAMP(6) WHERE payment_id = 2")
    aurora.settle()
    assert ferry.run(inputs).code == 0
    spark.sql(
        f"CALL lake.system.expire_snapshots(table => 'curated.{payments}', retain_last => 1,"
        " older_than => TIMESTAMP '2100-01-01 00:00:00')"
    )
    ran = ferry.run(derived, "pinned")
    gone = ran.receipt("transform", dataset)
    assert (gone.generation, gone.error_type, gone.exit_code) == (1, "LakeMoved", 3)
    assert ran.code == 0, "it is planned again in the same run"
    assert _sales(ferry, target)[date(2026, 1, 2), 1] == ("さくら", Decimal("8.00"))

    # An input that is made again has fewer batches than the pin says, and another identity.
    spark.sql(f"DROP TABLE lake.curated.{payments}")
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    assert ferry.published(dataset)[-1].partitions == ("2026-01-01", "2026-01-02")
    assert _sales(ferry, target)[date(2026, 1, 2), 1] == ("さくら", Decimal("8.00"))


def test_what_is_replaced_is_days(ferry: Ferry, aurora: OwnDatabase, shop: tuple[str, str, str, str]) -> None:
    """By an instant rows went missing in curated, and every later load was refused; now nothing is published."""
    inputs, _, _, _ = shop
    mark, target = aurora.name, ferry.warehouse_dataset()
    datasets = [
        f"  - {{name: {name}_{mark}, inputs: [payments_{mark}], transform: 'tests.e2e.transforms:{transform}',"
        f" write_disposition: overwrite_partitions, bigquery: {{table: {target}.{name}, partition_by: {by}}}}}"
        for name, transform, by in (
            ("instants", "mirrored", "created_at"),
            ("moments", "by_moment", "made_on"),
            ("strays", "by_day", "made_on"),
            ("days", "all_days", "made_on"),
        )
    ]
    text = f"pipeline: days_{mark}\ndatasets:\n" + "\n".join(datasets) + "\n"
    derived = ferry.spec(text)
    captured = "(%s, 1, 5, 'JPY', 'CAPTURED', '2026-01-0%s 12:00:00', UTC_TIMESTAMP(6))"
    for number in (1, 2):
        aurora.execute(f"INSERT INTO payments VALUES {captured}", (number, number))
    aurora.settle()
    assert ferry.run(inputs, through="check").code == 0
    first = ferry.cli_here("run", derived)
    assert first.returncode == 2
    [failed] = [event for event in events_of(first) if event["event"] == "failed"]
    for word in (f"days_{mark}.yaml:3", f"instants_{mark}", "replaces days", "'created_at' is timestamp_ntz", "DATE"):
        assert word in failed["error"]
    assert not ferry.catalog.table_exists(("raw", f"instants_{mark}"))

    aurora.execute(f"INSERT INTO payments VALUES {captured}", (3, 3))
    aurora.settle()
    assert ferry.run(inputs, through="check").code == 0
    typo = f"  - {{name: typo_{mark}, inputs: [paymets_{mark}], transform: 'tests.e2e.transforms:all_days',"
    typo += f" write_disposition: replace, bigquery: {{table: {target}.typo}}}}\n"
    bug = f"  - {{name: bug_{mark}, inputs: [payments_{mark}], transform: 'tests.e2e.transforms:broken',"
    bug += f" write_disposition: replace, bigquery: {{table: {target}.bug}}}}\n"
    # A transform beside the pipelines, whose function runs in Spark's workers and calls another module beside it.
    folder = ferry.folder / "pipelines"
    (folder / f"words_{mark}.py").write_text("SUFFIX = '!'\n\ndef loud(text):\n    return text + SUFFIX\n")
    (folder / f"beside_{mark}.py").write_text(
        f"from pyspark.sql import functions as F\nfrom words_{mark} import loud\n\n"
        "def shouted(inputs, partitions):\n    [only] = inputs.values()\n"
        "    return only.select('payment_id', F.udf(lambda text: loud(text))('currency').alias('currency'))\n"
    )
    near = f"  - {{name: beside_{mark}, inputs: [payments_{mark}], transform: 'beside_{mark}:shouted',"
    near += f" write_disposition: replace, bigquery: {{table: {target}.beside}}}}\n"
    second = ferry.run(ferry.spec(text + typo + bug + near))
    assert second.code == 2
    shown = ferry.cli("status", f"days_{mark}")
    assert shown.returncode == 2
    [line] = [line for line in shown.stdout.splitlines() if f" bug_{mark} " in line]
    assert "failed" in line
    assert (
        "transform tests.e2e.transforms:broken raised PythonException: KeyError in a worker at tests/e2e/transforms.py:"
        in line
    )
    assert "JPY" not in line
    refused = second.plan.failures[f"typo_{mark}"].error
    for word in (f"days_{mark}.yaml:7", f"input 'paymets_{mark}' has no table", f"Did you mean payments_{mark}?"):
        assert word in refused
    made = {name: ferry.published(f"{name}_{mark}") for name in ("moments", "strays", "days")}
    shouted = {(row["payment_id"], row["currency"]) for row in ferry.lake_rows("raw", f"beside_{mark}")}
    assert shouted == {(1, "JPY!"), (2, "JPY!"), (3, "JPY!")}
    assert {name: [batch.rows for batch in batches] for name, batches in made.items()} == {
        "moments": [2],
        "strays": [2],
        "days": [2, 3],
    }
    stray = second.receipt("transform", f"strays_{mark}").error or ""
    assert "gives rows of 2026-01-01, 2026-01-02 (made_on), and was not asked for these days" in stray
    assert len(ferry.warehouse_rows(f"{target}.days")) == 3


def _sales(ferry: Ferry, target: str) -> dict[tuple[date, int], tuple[str, Decimal]]:
    rows = ferry.warehouse_rows(target, "business_date, merchant_id, merchant_name, sales")
    return {(row["business_date"], row["merchant_id"]): (row["merchant_name"], row["sales"]) for row in rows}
