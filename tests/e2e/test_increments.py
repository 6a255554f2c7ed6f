"""What moves from run to run: nothing where nothing changed, exactly what changed, and what came late."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from connectors.base import Window
from jobs.runtime.fault_points import Crash
from tests.e2e.ferry import Ferry, OwnDatabase


class Payments:
    """A small table with a cursor, and the pipeline that ferries it."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, source: str, lookback_seconds: int = 0) -> None:
        self.ferry, self.database = ferry, database
        self.name = f"p_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.payments"
        database.execute(
            "CREATE TABLE payments (id BIGINT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, memo VARCHAR(100),"
            " updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
        )
        ferry.suite(self.name, "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0}\n")
        self.pipeline = ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{type: {source}, connection: {"aurora_payments" if source == "aurora" else "tidb_wallet"}}}
            datasets:
              - name: {self.name}
                table: {database.name}.payments
                primary_key: [id]
                cursor: updated_at
                lag_seconds: 1
                lookback_seconds: {lookback_seconds}
                write_disposition: merge
                expectations: {self.name}
                bigquery: {{table: {self.target}}}
            """
        )

    def put(self, identity: int, amount: str, memo: str | None, at: datetime) -> None:
        self.database.execute("REPLACE INTO payments VALUES (%s, %s, %s, %s)", (identity, amount, memo, at))

    def in_warehouse(self) -> dict[int, tuple[Decimal, str | None, datetime]]:
        rows = self.ferry.warehouse_rows(self.target, "id, amount, memo, updated_at")
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: (row["amount"], row["memo"], row["updated_at"]) for row in rows}

    def at_source(self) -> dict[int, tuple[Decimal, str | None, datetime]]:
        rows = self.database.rows("SELECT id, amount, memo, updated_at FROM payments WHERE amount >= 0")
        return {row[0]: row[1:] for row in rows}


@pytest.fixture(params=["aurora", "tidb"])
def payments(request: pytest.FixtureRequest, ferry: Ferry) -> Payments:
    return Payments(ferry, request.getfixturevalue(request.param), request.param)


def test_a_second_run_moves_nothing_and_a_third_exactly_what_changed(payments: Payments) -> None:
    ferry, name = payments.ferry, payments.name
    began = payments.database.now() - timedelta(hours=2)
    for identity in range(1, 41):
        payments.put(
            identity, f"{identity}.10", "済み ✅" if identity % 2 else None, began + timedelta(seconds=identity)
        )
    payments.put(41, "-0.01", "bad", began)
    first = ferry.run(payments.pipeline)
    assert first.code == 0
    check = first.receipt("check", name)
    assert (check.source_rows, check.read, check.published, check.quarantined) == (41, 41, 40, 1)
    assert payments.in_warehouse() == payments.at_source()
    [bad] = ferry.lake_rows("quarantine", name)
    assert '"id":41' in bad["record"].replace(" ", "")
    assert "amount" in bad["reason"]

    before = [ferry.snapshot(namespace, name) for namespace in ("raw", "curated", "quarantine")]
    second = ferry.run(payments.pipeline)
    assert second.code == 0
    assert [entry.state for entry in second.plan.datasets] == ["empty"]
    assert [ferry.snapshot(namespace, name) for namespace in ("raw", "curated", "quarantine")] == before

    payments.put(7, "70.77", "changed", payments.database.now())
    payments.put(100, "100.00", "", payments.database.now())
    payments.database.settle()
    third = ferry.run(payments.pipeline)
    check = third.receipt("check", name)
    assert (check.read, check.published, check.quarantined) == (2, 2, 0)
    assert third.receipt("load", name).loaded == 2
    assert payments.in_warehouse() == payments.at_source()
    assert sorted(row["id"] for row in ferry.lake_rows("curated", name)) == [*range(1, 41), 100]


def test_rows_committed_late_inside_the_lag_arrive(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora")
    payments.put(1, "1.00", None, payments.database.now() - timedelta(hours=1))
    assert ferry.run(payments.pipeline).code == 0
    # Stamped before the first window's end was reached by the clock, and committed only now.
    end = datetime.fromisoformat(ferry.run(payments.pipeline).plan.datasets[0].window.end)  # type: ignore[union-attr, arg-type]
    payments.put(2, "2.00", "late", end)
    payments.put(3, "3.00", "in the future", payments.database.now() + timedelta(days=1))
    payments.database.settle()
    ran = ferry.run(payments.pipeline)
    assert ran.receipt("check", payments.name).published == 1
    assert sorted(payments.in_warehouse()) == [1, 2]


def test_an_open_transaction_holds_the_window_back(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora")
    payments.put(1, "1.00", None, payments.database.now() - timedelta(hours=1))
    writer = OwnDatabase("aurora_payments")
    try:
        writer.execute(f"USE {aurora.name}")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO payments VALUES (2, 2, 'slow', %s)", (payments.database.now(),))
        payments.database.settle(beside=writer)
        plan = ferry.plan(payments.pipeline, "held-back")
        # No longer than that: other tests' windows end with it, too.
        writer.execute("COMMIT")
        assert ferry.run_stage(plan, "extract", "load") == 0
        assert sorted(payments.in_warehouse()) == [1]
        payments.database.settle()
        assert ferry.run(payments.pipeline).code == 0
        assert sorted(payments.in_warehouse()) == [1, 2]
    finally:
        writer.close()


def test_a_backfill_moves_neither_the_position_nor_anything_back(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora")
    began = payments.database.now() - timedelta(hours=5)
    for identity in (1, 2, 3):
        payments.put(identity, "1.00", "old", began + timedelta(minutes=identity))
    ferry.run(payments.pipeline)
    payments.put(2, "2.00", "new", payments.database.now())
    payments.database.settle()
    # What an operator forgot: a row that was stamped into the past.
    payments.put(9, "9.00", "forgotten", began + timedelta(minutes=2))
    window = Window(start=f"{began.isoformat()}Z", end=f"{(began + timedelta(hours=1)).isoformat()}Z")

    # Planned beside each other; the schedule publishes first, the backfill follows it.
    backfill_plan = ferry.plan(payments.pipeline, "backfill", window)
    scheduled = ferry.run(payments.pipeline)
    assert scheduled.receipt("check", payments.name).published == 1
    assert backfill_plan.dataset(payments.name).batch == scheduled.plan.dataset(payments.name).batch
    backfill = ferry.run(payments.pipeline, "backfill", window)
    assert backfill.code == 0
    assert backfill.receipt("check", payments.name).published == 3
    assert payments.in_warehouse() == payments.at_source()
    assert [entry.state for entry in ferry.run(payments.pipeline).plan.datasets] == ["empty"]

    # The other way round: the backfill publishes while a scheduled run is under way.
    payments.put(5, "5.00", "fresh", payments.database.now())
    payments.database.settle()
    ferry.plan(payments.pipeline, "scheduled", None)
    assert ferry.run(payments.pipeline, "backfill-2", window).code == 0
    assert ferry.run(payments.pipeline, "scheduled").code == 0
    assert payments.in_warehouse() == payments.at_source()
    raw = [(row["_batch"], row["id"]) for row in ferry.lake_rows("raw", payments.name)]
    assert len(raw) == len(set(raw))


def test_two_runs_from_one_position_publish_once(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora")
    payments.put(1, "1.00", None, payments.database.now() - timedelta(hours=1))
    ferry.plan(payments.pipeline, "left")
    assert ferry.run(payments.pipeline, "right").code == 0
    left = ferry.run(payments.pipeline, "left")
    moved = left.receipt("check", payments.name)
    assert (moved.generation, moved.error_type, moved.exit_code) == (1, "LakeMoved", 3)
    assert left.code == 0, "it is planned again in the same run"
    assert [(entry.generation, entry.state) for entry in left.plan.datasets] == [(2, "empty")]
    assert [row["id"] for row in ferry.lake_rows("raw", payments.name)] == [1]


def test_a_lookback_finds_what_was_committed_late_and_publishes_nothing_twice(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = Payments(ferry, aurora, "aurora", lookback_seconds=7200)
    began = payments.database.now() - timedelta(hours=1)
    for identity in (1, 2, 3):
        payments.put(identity, "1.00", None, began + timedelta(minutes=identity))
    payments.put(4, "-1.00", "set aside", began)
    assert ferry.run(payments.pipeline).code == 0
    before = [ferry.snapshot(namespace, payments.name) for namespace in ("raw", "curated", "quarantine")]

    # All that is read again is known: nothing is published, and the hour counts as seen.
    again = ferry.run(payments.pipeline)
    assert again.code == 0
    check = again.receipt("check", payments.name)
    assert (check.verdict, check.known, check.published, check.quarantined) == ("empty", 4, 0, 0)
    assert [ferry.snapshot(namespace, payments.name) for namespace in ("raw", "curated", "quarantine")] == before

    # Committed long after its window was read; changed without its cursor moving; set aside as late.
    payments.put(8, "8.00", "late", began + timedelta(minutes=1))
    payments.put(2, "2.22", None, began + timedelta(minutes=2))
    payments.put(9, "-9.00", "late and bad", began + timedelta(minutes=1))
    with monkeypatch.context() as faulty:
        faulty.setenv("LAKEFERRY_CRASH_AT", "extract.appended")
        faulty.setenv("LAKEFERRY_CRASH_GENTLY", "yes")
        with pytest.raises(Crash):
            ferry.run(payments.pipeline, "late")
    ran = ferry.run(payments.pipeline, "late")
    assert ran.code == 0
    check = ran.receipt("check", payments.name)
    assert (check.source_rows, check.known, check.read, check.published, check.quarantined) == (6, 3, 3, 2, 1)
    assert payments.in_warehouse() == payments.at_source()
    assert sorted((row["_batch"], row["id"]) for row in ferry.lake_rows("raw", payments.name)) == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 2),
        (2, 8),
    ]
    assert len(ferry.lake_rows("quarantine", payments.name)) == 2


def test_without_a_cursor_only_what_differs_moves(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = f"whole_{aurora.name}", f"{ferry.warehouse_dataset()}.t"
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, amount DECIMAL(9,2), memo VARCHAR(20))")
    aurora.insert("t", [(n, f"{n}.00", None if n % 2 else "memo") for n in range(1, 11)])
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.t
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}}}
        """
    )
    assert ferry.run(name).receipt("check", name).published == 10
    before = ferry.snapshot("raw", name)
    nothing = ferry.run(name).receipt("check", name)
    assert (nothing.verdict, nothing.known, nothing.published) == ("empty", 10, 0)
    assert ferry.snapshot("raw", name) == before

    aurora.execute("UPDATE t SET memo = NULL WHERE id = 2")
    aurora.execute("INSERT INTO t VALUES (11, 11, NULL)")
    check = ferry.run(name).receipt("check", name)
    assert (check.known, check.read, check.published) == (9, 2, 2)
    # Back to what it was at first: raw holds that row, the current state does not.
    aurora.execute("UPDATE t SET memo = 'memo' WHERE id = 2")
    assert ferry.run(name).receipt("check", name).published == 1
    found = {row["id"]: (row["amount"], row["memo"]) for row in ferry.warehouse_rows(target)}
    assert found == {row[0]: row[1:] for row in aurora.rows("SELECT * FROM t")}
