"""A published batch that BigQuery refuses, and the way past it: a correction sets its rows aside and counts them."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from typing import Any

import pytest

from jobs.runtime.fault_points import Crash, listening
from tests.e2e.ferry import Ferry, OwnDatabase

KINDS = {
    "merged": "write_disposition: merge",
    "again": "write_disposition: merge, lookback_seconds: 7200",
    "log": "write_disposition: append",
    "swept": "write_disposition: merge, deletes: sweep",
}
TOO_LARGE = "amount > 999.99"
REASON = "the shop's table takes 999.99 at most"


class Narrow:
    """A table, and datasets of it whose tables in BigQuery take amounts of three digits before the point."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, kinds: dict[str, str]) -> None:
        self.ferry, self.database, self.kinds = ferry, database, kinds
        self.name = f"c_{database.name}"
        self.warehouse = ferry.warehouse_dataset()
        ferry.warehouse.create_dataset(self.warehouse)
        for kind in kinds:
            ferry.warehouse.query(f"CREATE TABLE {self.table(kind)} (id INT64, amount NUMERIC(5, 2))").result()
        datasets = "".join(
            f"\n  - {{name: {self.dataset(kind)}, table: {database.name}.payments, primary_key: [id],"
            f" cursor: updated_at, lag_seconds: 1, {options}, bigquery: {{table: {self.table(kind)}}}}}"
            for kind, options in kinds.items()
        )
        ferry.spec(
            f"pipeline: {self.name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:{datasets}\n"
        )
        database.execute(
            "CREATE TABLE payments (id BIGINT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, memo VARCHAR(100),"
            " updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
        )

    def dataset(self, kind: str) -> str:
        return f"{self.name}_{kind}"

    def table(self, kind: str) -> str:
        return f"{self.warehouse}.{kind}"

    def put(self, *rows: tuple[int, str]) -> None:
        now = self.database.now()
        for identity, amount in rows:
            self.database.execute(
                "REPLACE INTO payments VALUES (%s, %s, %s, %s)", (identity, amount, f"memo {identity}", now)
            )
        self.database.settle()

    def derive(self, kind: str) -> str:
        """A derived pipeline of one of the datasets, whose table is as narrow."""
        columns = "id INT64, amount NUMERIC(5, 2), updated_on DATE"
        self.ferry.warehouse.query(f"CREATE TABLE {self.table('daily')} ({columns}) PARTITION BY updated_on").result()
        return self.ferry.spec(
            f"""\
            pipeline: {self.name}_days
            schedule: {{after: [{self.dataset(kind)}]}}
            datasets:
              - name: {self.dataset("daily")}
                inputs: [{self.dataset(kind)}]
                transform: tests.e2e.transforms:by_updated_day
                primary_key: [id]
                write_disposition: overwrite_partitions
                bigquery: {{table: {self.table("daily")}, partition_by: updated_on}}
            """
        )

    def correct(
        self, kind: str, *more: str, pipeline: str = "", batch: int = 2, where: str = TOO_LARGE
    ) -> subprocess.CompletedProcess[str]:
        arguments = ["correct", pipeline or self.name, "--dataset", self.dataset(kind), "--batch", str(batch)]
        return self.ferry.cli(*arguments, "--where", where, "--reason", REASON, *more)

    def live(self, kind: str) -> dict[int, str]:
        return _live(self.ferry.lake_rows("curated", self.dataset(kind)))

    def loaded(self, kind: str) -> dict[int, str]:
        return _live(self.ferry.warehouse_rows(self.table(kind)))


def _live(rows: list[dict[str, Any]]) -> dict[int, str]:
    live = [row for row in rows if row.get("_deleted_at") is None]
    assert len({row["id"] for row in live}) == len(live)
    return {row["id"]: f"{Decimal(row['amount']):.2f}" for row in live}


def test_a_correction_gets_a_dataset_past_a_batch_that_bigquery_refuses(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Narrow(ferry, aurora, KINDS)
    narrow.put((1, "1.00"), (2, "2.00"), (3, "3.00"))
    assert ferry.run(narrow.name).code == 0
    # An update and an insert that the table cannot take, and an update it can.
    narrow.put((1, "12345.00"), (2, "20.00"), (4, "54321.00"))
    refused = ferry.run(narrow.name)
    daily = narrow.derive("merged")
    assert ferry.run(daily).code == 1
    narrow.put((3, "30.00"))
    aurora.execute("DELETE FROM payments WHERE id = 2")
    waiting = ferry.run(narrow.name)
    for kind in KINDS:
        error = str(refused.receipt("load", narrow.dataset(kind)).error)
        assert f"lakeferry correct {narrow.name} --dataset {narrow.dataset(kind)} --batch 2" in error, kind
        assert waiting.receipt("load", narrow.dataset(kind)).verdict == "failed", kind
        assert narrow.loaded(kind) == {1: "1.00", 2: "2.00", 3: "3.00"}, kind
    assert narrow.live("merged") == {1: "12345.00", 2: "20.00", 3: "30.00", 4: "54321.00"}

    for batch, where, word in (
        (4, TOO_LARGE, "batch 4 is not published. Valid: 1 to 3"),
        (1, TOO_LARGE, "batch 1 is loaded: BigQuery has come to batch 1"),
        (2, "amount > 54321", "none of 3 rows"),
    ):
        told = narrow.correct("merged", batch=batch, where=where)
        assert (told.returncode, word in told.stderr) == (2, True), told.stderr
    counted = narrow.correct("merged", "--dry-run")
    assert (counted.returncode, len(ferry.published(narrow.dataset("merged")))) == (0, 3)
    assert "2 of 3 rows of batch 2 match" in counted.stdout

    _two_at_once(narrow, "merged")
    _after_a_crash(narrow, "log", monkeypatch)
    # Curated is left to the next run.
    _crash(narrow, "again", "correct.published", monkeypatch)
    assert narrow.correct("swept").returncode == 0
    assert narrow.correct("daily", pipeline=daily, batch=1).returncode == 0

    assert narrow.live("merged") == {1: "1.00", 2: "20.00", 3: "30.00"}
    assert narrow.live("log") == {1: "1.00", 2: "2.00", 3: "3.00"}
    assert narrow.live("swept") == {1: "1.00", 3: "30.00"}
    assert narrow.live("daily") == {2: "20.00", 3: "3.00"}
    for kind in KINDS:
        batches = ferry.published(narrow.dataset(kind))
        assert [(b.rows, b.quarantined) for b in (batches[1], batches[3])] == [(1, 0), (0, 2)], kind
        assert batches[3].position == batches[2].position
        assert sum(b.rows for b in batches) == len(ferry.lake_rows("raw", narrow.dataset(kind)))
    assert "none of 1 rows of batch 2" in narrow.correct("merged").stderr
    left = [ferry.document(key) for key in ferry.documents_of(narrow.name) if "/correct-" in key]
    assert len(left) == 3
    assert "999.99" not in "".join(left)

    # A row that a lookback or a sweep reads again stays aside until it changes at the source.
    assert ferry.run(narrow.name).code == 0
    for kind in KINDS:
        assert narrow.loaded(kind) == narrow.live(kind), kind
    assert narrow.live("again") == {1: "1.00", 2: "20.00", 3: "30.00"}
    assert narrow.live("swept") == {1: "1.00", 3: "30.00"}
    # Its inputs were corrected, too: their day is built again.
    assert ferry.run(daily).code == 0
    assert narrow.loaded("daily") == {1: "1.00", 2: "20.00", 3: "30.00"}
    shown = ferry.cli("quarantine", narrow.name, "--dataset", narrow.dataset("merged")).stdout
    assert f"set aside from batch 2: {REASON}" in shown
    assert "not published" not in shown
    status = ferry.cli("status", narrow.name)
    assert (status.returncode, "failed" in status.stdout) == (0, False)


def _two_at_once(narrow: Narrow, kind: str) -> None:
    """The second one is published while the first one is about to be."""
    second: list[subprocess.CompletedProcess[str]] = []

    def correct_meanwhile(point: str, dataset: str) -> None:
        if point == "correct.sealed" and not second:
            second.append(subprocess.CompletedProcess((), 99))
            second[0] = narrow.correct(kind)

    with listening(correct_meanwhile):
        first = narrow.correct(kind)
    assert (second[0].returncode, first.returncode) == (0, 3), first.stderr
    assert "batch 4 sets 2 of 3 rows of batch 2 aside" in second[0].stdout
    assert "Run the command again" in first.stderr
    assert len(narrow.ferry.lake_rows("quarantine", narrow.dataset(kind))) == 2


def _after_a_crash(narrow: Narrow, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows set aside by a correction that died count for nothing, and the same command works."""
    _crash(narrow, kind, "correct.quarantined", monkeypatch)
    assert len(narrow.ferry.published(narrow.dataset(kind))) == 3
    shown = narrow.ferry.cli("quarantine", narrow.name, "--dataset", narrow.dataset(kind)).stdout
    assert "4, not published" in shown
    assert narrow.correct(kind).returncode == 0


def _crash(narrow: Narrow, kind: str, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as faulty:
        faulty.setenv("LAKEFERRY_CRASH_AT", point)
        faulty.setenv("LAKEFERRY_CRASH_GENTLY", "yes")
        with pytest.raises(Crash):
            narrow.correct(kind)
