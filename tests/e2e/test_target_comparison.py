"""After a load the table in BigQuery is compared with curated, partition by partition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import bigquery

from connectors.base import Window
from connectors.bigquery.tables import expired_before, expiry_label
from jobs.lake.documents import open_documents
from jobs.runs.receipts import Receipt
from tests.e2e.ferry import Ferry, OwnDatabase, Ran

KINDS = {
    "by_day": "partition_by: paid_on",
    "by_month": "partition_by: paid_on, partition_granularity: month",
    "by_hour": "partition_by: paid_at, partition_granularity: hour",
    "by_year": "partition_by: local_at, partition_granularity: year",
    "by_number": "partition_by: bucket, partition_range: {start: 0, end: 30, interval: 10}",
    "as_one": "cluster_by: [bucket]",
}
PARTITIONS = {"by_day": 4, "by_month": 3, "by_hour": 4, "by_year": 4, "by_number": 5, "as_one": 1}


class Payments:
    """A table of payments, and a dataset of it for each way to partition one."""

    def __init__(self, ferry: Ferry, database: OwnDatabase) -> None:
        self.ferry, self.database = ferry, database
        self.name = f"t_{database.name}"
        self.warehouse = ferry.warehouse_dataset()
        self.folder_spec(list(KINDS))
        database.execute(
            "CREATE TABLE payments (id BIGINT PRIMARY KEY, paid_on DATE, paid_at TIMESTAMP(6) NULL,"
            " local_at DATETIME(6), bucket INT, amount DECIMAL(9,2) NOT NULL, updated_at TIMESTAMP(6) NOT NULL"
            " DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at))"
        )

    def folder_spec(self, kinds: list[str]) -> None:
        datasets = "".join(
            f"\n  - {{name: {self.dataset(kind)}, table: {self.database.name}.payments, primary_key: [id],"
            f" cursor: updated_at, lag_seconds: 1, write_disposition: merge,"
            f" bigquery: {{table: {self.table(kind)}, {KINDS[kind]}}}}}"
            for kind in kinds
        )
        self.ferry.spec(
            f"pipeline: {self.name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:{datasets}\n"
        )

    def dataset(self, kind: str) -> str:
        return f"{self.name}_{kind}"

    def table(self, kind: str) -> str:
        return f"{self.warehouse}.{kind}"

    def pay(self, rows: list[tuple[Any, ...]]) -> None:
        self.database.insert("payments (id, paid_on, paid_at, local_at, bucket, amount)", rows)
        self.database.settle()

    def run(self) -> Ran:
        return self.ferry.run(self.name)

    def loaded(self, ran: Ran, kind: str) -> Receipt:
        return ran.receipt("load", self.dataset(kind))

    def compared_yesterday(self, kind: str) -> None:
        """Have the last whole comparison be one of yesterday."""
        documents = open_documents(self.ferry.settings.lake)
        key = f"comparisons/{self.dataset(kind)}.json"
        today = datetime.now(UTC).date()
        text = documents.read(key)
        assert f'"{today}"' in text
        yesterday = text.replace(str(today), str(today - timedelta(days=1)))
        documents.put(key, yesterday.encode(), "application/json")

    def in_warehouse(self, sql: str) -> None:
        self.ferry.warehouse.query(sql).result()


@pytest.fixture
def payments(ferry: Ferry, aurora: OwnDatabase) -> Payments:
    return Payments(ferry, aurora)


def test_a_table_that_was_changed_by_hand_is_red_and_the_partition_is_named(payments: Payments) -> None:
    payments.pay(
        [
            (1, "1969-12-31", "1970-01-01 00:00:01", "0001-01-01 00:00:00", -5, "1.00"),
            (2, "2026-11-01", "2026-11-01 10:00:00", "1969-12-31 23:59:59.999999", 0, "2.00"),
            (3, "2026-11-02", "2026-11-01 10:59:59.999999", "2026-06-30 12:00:00", 9, "3.00"),
            (4, None, None, None, None, "4.00"),
            (5, "2026-11-02", "2026-11-01 11:00:00", "2026-12-31 00:00:00", 29, "5.00"),
            (6, "2026-11-02", "2026-11-01 11:00:00", "2026-12-31 00:00:00", 30, "6.00"),
        ]
    )
    first = payments.run()
    assert first.code == 0
    for kind, partitions in PARTITIONS.items():
        details = payments.loaded(first, kind).details
        assert (details.compared_rows, details.compared_partitions) == (6, partitions), kind
        assert details.compared_whole is True

    # One row of another partition, one key, and one whole partition: nobody reads these until they are touched.
    payments.in_warehouse(f"DELETE FROM {payments.table('by_day')} WHERE id = 1")
    payments.in_warehouse(f"UPDATE {payments.table('by_month')} SET id = 70 WHERE id = 3")
    payments.in_warehouse(f"DELETE FROM {payments.table('by_number')} WHERE bucket IS NULL")
    payments.in_warehouse(f"UPDATE {payments.table('by_hour')} SET amount = 9 WHERE id = 5")
    payments.folder_spec(["by_day", "by_month", "by_hour", "by_number"])
    payments.pay([(7, "2026-11-02", "2026-11-01 11:30:00", "2026-11-02 00:00:00", 15, "7.00")])
    second = payments.run()

    month = payments.loaded(second, "by_month")
    assert (month.verdict, month.exit_code, month.error_type) == ("failed", 1, "TargetDiffers")
    assert "partition 2026-11 has 5 live rows as curated has, with other keys or versions" in str(month.error)
    assert f"drop the tables {payments.table('by_month')}" in str(month.error)
    for kind, rows in {"by_day": 4, "by_hour": 3, "by_number": 1}.items():
        details = payments.loaded(second, kind).details
        assert (details.compared_rows, details.compared_whole) == (rows, False), kind

    # The first load of a day compares every partition.
    for kind in ("by_day", "by_number"):
        payments.compared_yesterday(kind)
    payments.folder_spec(["by_day", "by_number"])
    payments.pay([(8, "2026-11-02", "2026-11-01 11:30:00", "2026-11-02 00:00:00", 15, "8.00")])
    third = payments.run()
    by_day, by_number = (payments.loaded(third, kind).error for kind in ("by_day", "by_number"))
    assert "partition 1969-12-31 has 0 live rows, curated has 1" in str(by_day)
    assert "partition NULL has 0 live rows, curated has 1" in str(by_number)
    # The batch is loaded all the same, and the next run goes on from it.
    assert sorted(row["id"] for row in payments.ferry.warehouse_rows(payments.table("by_day"))) == [2, 3, 4, 5, 6, 7, 8]
    # A difference is asked for again until it is mended, also by loads of other partitions.
    payments.folder_spec(["by_day"])
    payments.pay([(9, "2026-11-02", None, None, 15, "9.00")])
    assert payments.loaded(payments.run(), "by_day").error_type == "TargetDiffers"
    idle = payments.run()
    assert idle.plan.dataset(payments.dataset("by_day")).state == "empty"
    assert payments.loaded(idle, "by_day").error_type == "TargetDiffers", "a run that brings nothing is red, too"
    payments.in_warehouse(
        f"INSERT INTO {payments.table('by_day')} (id, paid_on, amount, updated_at, _batch, _run_id)"
        f" SELECT 1, DATE '1969-12-31', 1.00, updated_at, 1, '' FROM {payments.table('by_day')} WHERE id = 2"
    )
    mended = payments.loaded(payments.run(), "by_day")
    assert (mended.verdict, mended.details.compared_whole) == ("empty", True)
    assert payments.loaded(payments.run(), "by_day").details.compared_whole is None


def test_a_backfill_and_deletes_compare_equal(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = f"t_{aurora.name}", f"{ferry.warehouse_dataset()}.accounts"
    aurora.execute(
        "CREATE TABLE accounts (id BIGINT PRIMARY KEY, opened DATE NOT NULL, balance INT NOT NULL, updated_at"
        " DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)), KEY (updated_at))"
    )
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.accounts
            primary_key: [id]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            deletes: sweep
            most_deleted: 1
            bigquery: {{table: {target}, partition_by: opened, deletes: remove}}
        """
    )
    began = aurora.now()
    aurora.insert("accounts (id, opened, balance)", [(n, f"2026-11-{n:02}", n) for n in range(1, 6)])
    aurora.settle()
    assert ferry.run(name).receipt("load", name).details.compared_rows == 5
    # A row moves to another partition, one is deleted, one is there twice.
    aurora.execute(
        "UPDATE accounts SET opened = '2026-11-05', balance = 20, updated_at = UTC_TIMESTAMP(6) WHERE id = 2"
    )
    aurora.execute("DELETE FROM accounts WHERE id = 3")
    aurora.settle()
    moved = ferry.run(name).receipt("load", name)
    assert moved.verdict == "done"
    # Only the touched partitions count: one has rows 2 and 5, the ones they were in before have none.
    assert (moved.details.compared_rows, moved.details.compared_partitions) == (2, 1)

    again = ferry.run(name, window=Window(start=began.isoformat(), end=None)).receipt("load", name)
    assert again.verdict == "done"
    assert again.details.compared_rows == 4


def test_an_append_keeps_the_first_row_of_a_key_when_curated_is_rebuilt(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = f"t_{aurora.name}", f"{ferry.warehouse_dataset()}.events"
    aurora.execute(
        "CREATE TABLE events (id BIGINT PRIMARY KEY, v INT, updated_at DATETIME(6) NOT NULL DEFAULT"
        " (UTC_TIMESTAMP(6)), KEY (updated_at))"
    )
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.events
            primary_key: [id]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: append
            bigquery: {{table: {target}}}
        """
    )
    for statement in (
        "INSERT INTO events (id, v) VALUES (1, 1)",
        "UPDATE events SET v = 9, updated_at = UTC_TIMESTAMP(6) WHERE id = 1",
        "INSERT INTO events (id, v) VALUES (3, 3)",
    ):
        aurora.execute(statement)
        aurora.settle()
        if "3" in statement:
            ferry.catalog.drop_table(("curated", name))
        assert ferry.run(name).code == 0
    for rows in (ferry.lake_rows("curated", name), ferry.warehouse_rows(target)):
        assert {row["id"]: row["v"] for row in rows} == {1: 1, 3: 3}


def test_what_an_earlier_expiration_removed_is_remembered() -> None:
    table = bigquery.Table("p.d.t")
    assert expired_before(table) is None
    month = 30 * 24 * 3600 * 1000
    table.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=month)
    now = datetime.now(UTC)
    before = expired_before(table)
    assert before is not None
    assert abs(before - (now - timedelta(days=30))) < timedelta(minutes=5)
    # The expiration is raised: what had expired by then does not come back.
    table.labels = expiry_label(before)
    table.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=3 * month)
    kept = expired_before(table)
    assert kept is not None
    assert before <= kept <= before + timedelta(days=1)
    assert expiry_label(None) == {}
