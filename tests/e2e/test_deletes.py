"""Rows deleted at the source: marked once, forgotten by what is derived, live again when they are back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from connectors.base import Window
from connectors.mysql.source import MySQLSource
from jobs.runtime.fault_points import Crash
from jobs.stages.extract import sweep
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.e2e.test_derived import SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}
Row = tuple[Decimal, str | None, datetime]


class Accounts:
    """A table whose rows come and go, and the pipeline that ferries it."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, source: str) -> None:
        self.ferry, self.database, self.source = ferry, database, source
        self.name = f"d_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.accounts"
        self.began = database.now() - timedelta(hours=9)
        database.execute(
            "CREATE TABLE accounts (id BIGINT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, memo VARCHAR(100),"
            " updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
        )
        ferry.suite(self.name, "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0}\n")
        self.write_spec()

    def write_spec(self, more: str = "", layout: str = "") -> None:
        self.ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{type: {self.source}, connection: {CONNECTIONS[self.source]}}}
            datasets:
              - name: {self.name}
                table: {self.database.name}.accounts
                primary_key: [id]
                cursor: updated_at
                lag_seconds: 1
                write_disposition: merge
                deletes: sweep
                expectations: {self.name}
                bigquery: {{table: {self.target}{layout}}}
                {more}
            """
        )

    def put(self, identity: int, amount: str, at: datetime, memo: str | None = None) -> None:
        self.database.execute("REPLACE INTO accounts VALUES (%s, %s, %s, %s)", (identity, amount, memo, at))

    def fill(self, rows: int) -> None:
        self.database.insert(
            "accounts", [(n, f"{n}.10", f"口座 {n}", self.began + timedelta(seconds=n)) for n in range(1, rows + 1)]
        )

    def delete(self, *identities: int) -> None:
        self.database.execute(f"DELETE FROM accounts WHERE id IN ({', '.join(map(str, identities))})")

    def clock(self, plan: Any) -> datetime:
        """The source's time that a plan has frozen."""
        return datetime.fromisoformat(plan.dataset(self.name).keys.clock)

    def deleted(self) -> dict[int, datetime]:
        """When rows were found gone, the same in curated and in BigQuery."""
        lake, warehouse = (
            {row["id"]: row["_deleted_at"].astimezone(UTC) for row in rows if row["_deleted_at"] is not None}
            for rows in (self.ferry.lake_rows("curated", self.name), self.ferry.warehouse_rows(self.target))
        )
        assert lake == warehouse
        return lake

    def live(self) -> dict[int, Row]:
        """The rows that are not marked, the same in curated and in BigQuery."""
        lake, warehouse = (
            {row["id"]: (row["amount"], row["memo"], row["updated_at"]) for row in rows if row["_deleted_at"] is None}
            for rows in (self.ferry.lake_rows("curated", self.name), self.ferry.warehouse_rows(self.target))
        )
        assert lake == warehouse
        return lake

    def at_source(self) -> dict[int, Row]:
        rows = self.database.rows("SELECT id, amount, memo, updated_at FROM accounts WHERE amount >= 0")
        return {row[0]: row[1:] for row in rows}

    def snapshots(self) -> list[int | None]:
        return [self.ferry.snapshot(namespace, self.name) for namespace in ("raw", "curated", "quarantine")]

    def raw_batches(self) -> list[tuple[int, int]]:
        return sorted((row["_batch"], row["id"]) for row in self.ferry.lake_rows("raw", self.name))


@pytest.fixture
def accounts(ferry: Ferry, aurora: OwnDatabase) -> Accounts:
    return Accounts(ferry, aurora, "aurora")


@pytest.mark.parametrize("source", ["aurora", "tidb"])
def test_what_is_gone_is_marked_and_what_is_back_is_live(
    ferry: Ferry, request: pytest.FixtureRequest, source: str
) -> None:
    ferry = replace(ferry, settings=ferry.settings.model_copy(update={"rows_per_slice": 10}))
    accounts = Accounts(ferry, request.getfixturevalue(source), source)
    name = accounts.name
    accounts.fill(40)
    accounts.put(41, "-0.01", accounts.began)
    first = ferry.run(name)
    check = first.receipt("check", name)
    assert (first.code, check.published, check.quarantined, check.deleted) == (0, 40, 1, 0)

    # Nothing is gone and nothing new: looked at, and nothing is published.
    before = accounts.snapshots()
    nothing = ferry.run(name)
    keys = nothing.plan.dataset(name).keys
    assert keys is not None
    assert len(keys.read.slices) > 1
    assert [column.name for column in keys.read.columns] == ["id", "updated_at"]
    check = nothing.receipt("check", name)
    assert (nothing.code, check.verdict, check.published, check.deleted) == (0, "empty", 0, 0)
    assert accounts.snapshots() == before

    old = accounts.at_source()
    accounts.delete(3, 4)
    accounts.put(7, "70.77", accounts.database.now(), "changed")
    accounts.database.settle()
    ran = ferry.run(name)
    check = ran.receipt("check", name)
    assert ran.code == 0
    assert (check.source_rows, check.read, check.published, check.quarantined, check.deleted) == (3, 3, 3, 0, 2)
    assert ran.receipt("load", name).loaded == 3
    assert accounts.deleted() == {3: accounts.clock(ran.plan), 4: accounts.clock(ran.plan)}
    assert accounts.live() == accounts.at_source()
    # The row is marked, not emptied.
    [third] = [row for row in ferry.lake_rows("curated", name) if row["id"] == 3]
    assert (third["amount"], third["memo"], third["updated_at"]) == old[3]

    # Nothing but a delete; what is marked already stays as it is.
    accounts.delete(5)
    alone = ferry.run(name)
    check = alone.receipt("check", name)
    assert alone.plan.dataset(name).source is not None
    assert (alone.code, check.source_rows, check.published, check.deleted) == (0, 1, 1, 1)
    assert {key: at for key, at in accounts.deleted().items() if key != 5} == {
        3: accounts.clock(ran.plan),
        4: accounts.clock(ran.plan),
    }

    # Back as a new row; as it was; with a version older than its tombstone's; and one no window ever held.
    accounts.put(3, "3.33", accounts.database.now(), "back")
    accounts.database.insert("accounts", [(4, *old[4])])
    accounts.put(5, "5.55", accounts.began - timedelta(days=30), "from a backup")
    accounts.put(50, "50.00", accounts.began, "written with an old date")
    accounts.database.settle()
    back = ferry.run(name)
    check = back.receipt("check", name)
    assert (back.code, check.source_rows, check.published, check.quarantined, check.deleted) == (0, 4, 4, 0, 0)
    assert accounts.deleted() == {}
    assert accounts.live() == accounts.at_source()


def test_what_is_gone_leaves_bigquery_where_the_spec_says_so_and_stays_marked_in_the_lake(accounts: Accounts) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(5)
    assert ferry.run(name).code == 0
    accounts.delete(1)
    assert ferry.run(name).code == 0
    assert list(accounts.deleted()) == [1]

    accounts.write_spec(layout=", deletes: remove")
    accounts.delete(2)
    ran = ferry.run(name)
    check, load = ran.receipt("check", name), ran.receipt("load", name)
    assert (ran.code, check.published, check.deleted) == (0, 1, 1)
    assert (load.published, load.loaded, load.warehouse_rows) == (1, 1, 3)
    assert sorted(row["id"] for row in ferry.warehouse_rows(accounts.target)) == [3, 4, 5]
    marked = [row["id"] for row in ferry.lake_rows("curated", name) if row["_deleted_at"] is not None]
    assert sorted(marked) == [1, 2]

    accounts.put(2, "2.22", accounts.database.now(), "back")
    accounts.database.settle()
    assert ferry.run(name).code == 0
    assert accounts.live() == accounts.at_source()
    assert sorted(accounts.live()) == [2, 3, 4, 5]


def test_more_than_is_plausible_stops_the_batch(accounts: Accounts) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(40)
    assert ferry.run(name).code == 0
    before = accounts.snapshots()
    accounts.delete(*range(1, 13))
    stopped = ferry.run(name, "many")
    assert stopped.code == 1
    failed = stopped.receipt("extract", name)
    assert failed.error_type == "CheckFailed"
    assert "12 of 40 rows are gone at the source, more than most_deleted: 0.1" in str(failed.error)
    assert "write most_deleted: 0.3 for one run" in str(failed.error)
    assert accounts.snapshots()[:2] == before[:2]
    assert accounts.deleted() == {}

    accounts.write_spec("most_deleted: 0.3")
    accepted = ferry.run(name, "many")
    assert (accepted.code, accepted.receipt("check", name).deleted) == (0, 12)
    accounts.write_spec()

    # A few may go, at any share, but not all there are.
    accounts.delete(*range(13, 23))
    assert ferry.run(name).receipt("check", name).deleted == 10
    accounts.database.execute("TRUNCATE TABLE accounts")
    emptied = ferry.run(name)
    assert emptied.code == 1
    assert "18 of 18 rows are gone at the source, more than most_deleted: 0.1; it holds no row at all" in str(
        emptied.receipt("extract", name).error
    )
    assert sorted(accounts.live()) == list(range(23, 41))


def test_a_run_that_dies_marks_once(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(20)
    assert ferry.run(name).code == 0

    def die(point: str, run_id: str) -> None:
        with monkeypatch.context() as faulty:
            faulty.setenv("LAKEFERRY_CRASH_AT", point)
            faulty.setenv("LAKEFERRY_CRASH_GENTLY", "yes")
            with pytest.raises(Crash):
                ferry.run(name, run_id)

    # Between the slices and the tombstones, and behind these.
    accounts.delete(1, 2)
    accounts.put(9, "9.99", accounts.database.now())
    accounts.database.settle()
    die("extract.appended", "hour-2")
    die("extract.swept", "hour-2")
    ran = ferry.run(name, "hour-2")
    assert (ran.code, ran.receipt("check", name).published, ran.receipt("check", name).deleted) == (0, 3, 2)
    assert accounts.raw_batches()[20:] == [(2, 1), (2, 2), (2, 9)]
    assert accounts.deleted() == {1: accounts.clock(ran.plan), 2: accounts.clock(ran.plan)}

    # The tombstones are in, and not yet noted.
    accounts.delete(3)
    die("extract.appended", "hour-3")
    # Published, and curated is behind: the next run must not mark it again.
    die("check.published", "hour-3")
    after = ferry.run(name, "hour-4")
    assert (after.code, after.receipt("check", name).verdict) == (0, "empty")
    assert ferry.run(name, "hour-3").code == 0
    assert accounts.raw_batches()[23:] == [(3, 3)]
    assert sorted(accounts.deleted()) == [1, 2, 3]
    assert accounts.live() == accounts.at_source()


def test_a_column_that_changes_before_the_keys_are_read_stops_the_sweep(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(ferry, aurora, "aurora")
    accounts.fill(3)
    assert ferry.run(accounts.name).code == 0
    accounts.delete(2)
    due = ["ALTER TABLE accounts MODIFY id DECIMAL(20,0)"]
    real = sweep.state_at_base

    def altered(*arguments: Any) -> Any:
        while due:
            aurora.execute(due.pop())
        return real(*arguments)

    monkeypatch.setattr(sweep, "state_at_base", altered)
    moved = ferry.run(accounts.name)
    assert moved.receipt("extract", accounts.name).error_type == "SourceMoved"
    assert accounts.deleted() == {}
    assert len(ferry.published(accounts.name)) == 1


def test_a_backfill_marks_nothing(accounts: Accounts) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(5)
    assert ferry.run(name).code == 0
    accounts.delete(2)
    window = Window(start=f"{accounts.began.isoformat()}Z", end=f"{(accounts.began + timedelta(hours=1)).isoformat()}Z")
    backfill = ferry.run(name, "backfill", window)
    check = backfill.receipt("check", name)
    assert (backfill.code, check.published, check.deleted) == (0, 4, 0)
    assert accounts.deleted() == {}
    assert ferry.run(name, "scheduled").receipt("check", name).deleted == 1
    shown = ferry.cli("receipts", name, "--run-id", "scheduled").stdout.splitlines()
    told = [[cell.strip() for cell in re.split("[┃│]", line)] for line in shown]
    headers = next(cells for cells in told if "quarantined" in cells)
    checked = next(cells for cells in told if "check" in cells)
    assert checked[headers.index("deleted")] == "1"
    # And brings a marked row back only where the source has it.
    assert ferry.run(name, "backfill-2", window).code == 0
    assert sorted(accounts.deleted()) == [2]
    assert accounts.live() == accounts.at_source()


def test_a_window_that_was_read_before_a_sweep_brings_nothing_back(accounts: Accounts) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(5)
    assert ferry.run(name).code == 0
    window = Window(start=f"{accounts.began.isoformat()}Z", end=f"{(accounts.began + timedelta(hours=1)).isoformat()}Z")
    backfill = ferry.plan(name, "backfill", window)
    assert ferry.run_stage(backfill, "extract", "extract") == 0
    accounts.delete(2)
    assert ferry.run(name).receipt("check", name).deleted == 1
    assert ferry.run_stage(backfill, "check", "load") == 3
    again = ferry.run(name, "backfill", window)
    assert (again.code, again.plan.datasets[0].generation) == (0, 2)
    assert sorted(accounts.deleted()) == [2]
    assert accounts.live() == accounts.at_source()


def test_a_row_that_comes_back_bad_is_set_aside_once(accounts: Accounts) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(5)
    assert ferry.run(name).code == 0
    accounts.delete(1, 2)
    assert ferry.run(name).receipt("check", name).deleted == 2
    accounts.put(1, "-1.00", accounts.began, "was good")
    accounts.put(60, "-6.00", accounts.began, "was never here")
    check = ferry.run(name).receipt("check", name)
    assert (check.source_rows, check.published, check.quarantined) == (2, 0, 2)
    nothing = ferry.run(name).receipt("check", name)
    assert (nothing.verdict, nothing.known, nothing.quarantined) == ("empty", 1, 0)
    assert len(ferry.lake_rows("quarantine", name)) == 2
    assert sorted(accounts.deleted()) == [1, 2]


def test_a_snapshot_still_holds_what_went_after_it(ferry: Ferry, tidb: OwnDatabase) -> None:
    accounts = Accounts(ferry, tidb, "tidb")
    accounts.fill(5)
    assert ferry.run(accounts.name).code == 0
    accounts.delete(1)
    planned = ferry.plan(accounts.name, "hour-2")
    accounts.delete(2)
    ran = ferry.run(accounts.name, "hour-2")
    assert ran.code == 0
    assert accounts.deleted() == {1: accounts.clock(planned)}
    assert ferry.run(accounts.name).code == 0
    assert sorted(accounts.deleted()) == [1, 2]


def test_a_key_lost_on_the_way_is_no_delete(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    ferry, name = accounts.ferry, accounts.name
    accounts.fill(5)
    assert ferry.run(name).code == 0
    whole = MySQLSource.read

    def losing(self: MySQLSource, *arguments: Any) -> DataFrame:
        return whole(self, *arguments).where("id <> 2")

    with monkeypatch.context() as faulty:
        faulty.setattr(MySQLSource, "read", losing)
        ran = ferry.run(name)
    assert ran.code == 1
    assert "the source has 5 keys, 4 were read" in str(ran.receipt("extract", name).error)
    assert accounts.deleted() == {}


def test_masked_keys_and_tables_without_a_cursor(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", "generic://:0123456789abcdef0123456789abcdef@")
    name, target = f"m_{aurora.name}", f"{ferry.warehouse_dataset()}.t"
    aurora.execute(
        "CREATE TABLE t (code VARCHAR(20) COLLATE utf8mb4_bin, `on day` DATE, n INT, PRIMARY KEY (code, `on day`))"
    )
    rows = [("aB3", "2026-01-01", 1), ("Ab3", "2026-01-01", 2), ("aB3", "2026-01-02", 3)]
    aurora.insert("t", rows)

    def write_spec(deletes: str) -> None:
        ferry.spec(
            f"""\
            pipeline: {name}
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: {name}
                table: {aurora.name}.v
                primary_key: [code, day]
                write_disposition: merge
                deletes: {deletes}
                mask: {{code: hmac}}
                bigquery: {{table: {target}}}
            """
        )

    write_spec("sweep")
    aurora.execute("CREATE VIEW v AS SELECT code, `on day` AS day, n FROM t")
    assert ferry.run(name).code == 0
    aurora.execute("DELETE FROM t WHERE n = 1")
    check = ferry.run(name).receipt("check", name)
    assert (check.known, check.published, check.deleted) == (2, 1, 1)

    def marked() -> dict[int, bool]:
        return {row["n"]: row["_deleted_at"] is not None for row in ferry.warehouse_rows(target)}

    assert marked() == {1: True, 2: False, 3: False}
    # Back, equal in every column to what curated holds and marks as deleted; nobody looks for deletes any more.
    write_spec("ignore")
    aurora.insert("t", rows[:1])
    check = ferry.run(name).receipt("check", name)
    assert (check.known, check.published, check.deleted) == (2, 1, None)
    assert marked() == {1: False, 2: False, 3: False}


def test_what_is_derived_forgets_it(ferry: Ferry, aurora: OwnDatabase) -> None:
    mark, target = aurora.name, ferry.warehouse_dataset()
    for statement in SCHEMA:
        aurora.execute(statement)
    inputs = ferry.spec(
        f"pipeline: shop_{mark}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        + "".join(
            f"  - {{name: {name}_{mark}, table: {mark}.{name}, primary_key: [{key}], cursor: updated_at,"
            f" lag_seconds: 1, write_disposition: merge, deletes: sweep, bigquery: {{table: {target}.{name}}}}}\n"
            for name, key in (("payments", "payment_id"), ("merchants", "merchant_id"))
        )
    )
    derived = ferry.spec(
        f"""\
        pipeline: sales_{mark}
        datasets:
          - name: sales_{mark}
            inputs: [payments_{mark}, merchants_{mark}]
            transform: tests.e2e.transforms:daily
            primary_key: [business_date, merchant_id]
            write_disposition: overwrite_partitions
            bigquery: {{table: {target}.sales, partition_by: business_date}}
        """
    )
    aurora.insert("merchants", [(1, "さくら", "food", "東京", "0.0300", "2026-01-01")])
    aurora.insert(
        "payments",
        [
            (n, 1, f"{n}00.00", "JPY", "CAPTURED", f"2026-01-0{day} 03:00:00", "2026-01-09 00:00:00")
            for n, day in ((1, 1), (2, 2), (3, 2))
        ],
    )
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    aurora.execute("DELETE FROM payments WHERE payment_id IN (1, 3)")
    assert ferry.run(inputs).code == 0
    assert ferry.run(derived).code == 0
    assert ferry.published(f"sales_{mark}")[-1].partitions == ("2026-01-01", "2026-01-02")
    sales = {row["business_date"]: row["sales"] for row in ferry.warehouse_rows(f"{target}.sales")}
    assert sales == {date(2026, 1, 2): Decimal("200.00")}
