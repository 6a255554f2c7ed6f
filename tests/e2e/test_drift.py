"""Columns that change at the source: taken into lake and BigQuery, or a clear stop; never a batch of two schemas."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.mysql import AuroraSource
from jobs.spec.reader import load_pipeline
from jobs.stages.extract import reconciled_read
from jobs.stages.plan.planner import draft_plan
from tests.e2e import transforms
from tests.e2e.ferry import Ferry, OwnDatabase

CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}


class Drifting:
    """A table `t` and the pipeline of one dataset that ferries it; `keys` are further keys of the dataset."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, source: str, columns: str) -> None:
        self.ferry, self.database, self.source = ferry, database, source
        self.name = f"d_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.t"
        database.execute(f"CREATE TABLE t ({columns}, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
        self.say()

    def say(self, keys: str = "primary_key: [id], write_disposition: merge", more: str = "") -> None:
        self.ferry.spec(
            f"pipeline: {self.name}\nsource: {{type: {self.source}, connection: {CONNECTIONS[self.source]}}}\n"
            f"datasets:\n  - {{name: {self.name}, table: {self.database.name}.t, cursor: updated_at, lag_seconds: 1,"
            f" {keys}, bigquery: {{table: {self.target}}}}}\n{more}"
        )

    def alter(self, *changes: str) -> None:
        for change in changes:
            self.database.execute(f"ALTER TABLE t {change}")

    def warnings(self, plan: Any) -> str:
        return "\n".join(plan.dataset(self.name).source.warnings)

    def refused(self, keys: str = "primary_key: [id], write_disposition: merge") -> str:
        """What planning says of a spec with these keys, which it must refuse."""
        self.say(keys)
        settings = self.ferry.settings
        drafted = draft_plan(load_pipeline(settings.pipelines, self.name), "refused", settings)
        [failure] = drafted.failures.values()
        return failure.error


@pytest.mark.parametrize("source", ["aurora", "tidb"])
def test_changes_between_runs_reach_lake_and_warehouse(
    ferry: Ferry, source: str, request: pytest.FixtureRequest
) -> None:
    database: OwnDatabase = request.getfixturevalue(source)
    table = Drifting(
        ferry,
        database,
        source,
        "id INT PRIMARY KEY, grown INT, positive INT UNSIGNED, amount DECIMAL(10,2), memo VARCHAR(5), ratio FLOAT,"
        " gone INT, old_name VARCHAR(10), narrowed BIGINT, required INT NOT NULL, small DECIMAL(12,4)",
    )
    log, log_target = f"log_{database.name}", f"{ferry.warehouse_dataset()}.log"
    table.say(
        more=f"  - {{name: {log}, table: {database.name}.t, cursor: updated_at, lag_seconds: 1, primary_key: [id],"
        f" lookback_seconds: 2678400, write_disposition: append, bigquery: {{table: {log_target}}}}}\n"
    )
    before = database.now().isoformat(sep=" ")
    database.execute(
        "INSERT INTO t VALUES (1, 2147483647, 4294967295, '99999999.99', 'five5', 0.5, 7, 'named', 5, 1, '1.5000', %s),"
        " (2, -1, 0, '-0.01', NULL, 0.25, 8, 'too', 6, 2, '2.0000', %s)",
        (before, before),
    )
    database.settle()
    assert ferry.run(table.name).code == 0
    view = f"{ferry.settings.warehouse_project}.{table.target}_of"
    ferry.warehouse.query(
        f"CREATE VIEW `{view}` AS SELECT id, grown, gone FROM `{ferry.settings.warehouse_project}.{table.target}`"
    ).result()

    table.alter(
        "MODIFY grown BIGINT",
        "MODIFY positive BIGINT",
        "MODIFY amount DECIMAL(18,2)",
        "MODIFY memo VARCHAR(50) FIRST",
        "MODIFY ratio DOUBLE",
        "DROP COLUMN gone",
        "CHANGE old_name new_name VARCHAR(10)",
        "MODIFY narrowed INT",
        "MODIFY required INT NULL",
        "MODIFY small DECIMAL(8,2)",
        "ADD COLUMN added VARCHAR(10) DEFAULT 'default'",
    )
    now = database.now().isoformat(sep=" ")
    database.execute("UPDATE t SET memo = 'longer than five', updated_at = %s WHERE id = 2", (now,))
    database.execute(
        "INSERT INTO t (id, grown, positive, amount, memo, ratio, new_name, narrowed, required, small, updated_at,"
        " added) VALUES (3, 9223372036854775807, -1, '9999999999999999.99', '長い文章 ✅', 0.1, 'new', -2147483648,"
        " NULL, '123456.78', %s, NULL)",
        (now,),
    )
    database.settle()
    ran = ferry.run(table.name)
    assert ran.code == 0
    said = table.warnings(ran.plan)
    assert "column 'gone' is gone from the source: it stays in the lake and BigQuery, NULL in new rows\n" in said
    assert "column 'old_name' is gone from the source" in said
    assert "was it renamed to 'new_name' or 'added'?" in said
    assert "column 'added' (string) is new: rows published before have NULL there" in said
    assert "column 'grown' becomes bigint, it was int" in said

    D = Decimal
    expected = {
        1: (2147483647, 4294967295, D("99999999.99"), "five5", 0.5, 7, "named", None, 5, 1, D("1.5"), None),
        2: (-1, 0, D("-0.01"), "longer than five", 0.25, None, None, "too", 6, 2, D("2"), "default"),
        3: (2**63 - 1, -1, D("9999999999999999.99"), "長い文章 ✅", 0.1, None, None, "new", -(2**31), None,
            D("123456.78"), None),
    }  # fmt: skip
    columns = [
        "grown",
        "positive",
        "amount",
        "memo",
        "ratio",
        "gone",
        "old_name",
        "new_name",
        "narrowed",
        "required",
        "small",
        "added",
    ]
    lake = {row["id"]: tuple(row[name] for name in columns) for row in ferry.lake_rows("curated", table.name)}
    assert lake == expected
    loaded = {
        row["id"]: tuple(row[name] for name in columns)
        for row in ferry.warehouse_rows(table.target, f"id, {', '.join(columns)}")
    }
    assert loaded == expected
    # The log looked back: rows 1 and 2 differ from what it holds (a default, a memo), and keep their first version.
    kept = {row["id"]: (row["gone"], row["added"]) for row in ferry.warehouse_rows(log_target, "id, gone, added")}
    assert kept == {1: (7, None), 2: (8, None), 3: (None, None)}
    seen = [tuple(row.values()) for row in ferry.warehouse.query(f"SELECT * FROM `{view}` ORDER BY id").result()]
    assert seen == [(1, 2147483647, 7), (2, -1, None), (3, 2**63 - 1, None)]

    # Said once: the next plan has nothing to say of it.
    assert "gone" not in table.warnings(ferry.plan(table.name, "quiet"))


def test_what_the_lake_cannot_follow_stops_at_plan(ferry: Ferry, aurora: OwnDatabase) -> None:
    table = Drifting(
        ferry, aurora, "aurora", "id INT PRIMARY KEY, region INT NOT NULL, note INT, amount DECIMAL(18,2), big BIGINT,"
        " at DATETIME, email VARCHAR(20)"
    )  # fmt: skip
    ferry.suite(table.name, "rows:\n  - expect_column_values_to_not_be_null: {column: note}\n")
    aurora.execute("INSERT INTO t VALUES (1, 1, 1, 1, 1, '2026-01-01', 'a@example.com', '2026-01-01')")
    key = "primary_key: [id], write_disposition: merge"
    assert ferry.run(table.name).code == 0
    schemas = [str(ferry.catalog.load_table((space, table.name)).schema()) for space in ("raw", "curated")]
    table.say(f"{key}, drift: freeze")
    assert ferry.plan(table.name, "frozen").datasets[0].state == "empty"
    documents = ferry.documents_of(table.name)

    table.alter(
        "MODIFY note VARCHAR(10)", "MODIFY amount DECIMAL(18,4)", "MODIFY big BIGINT UNSIGNED", "MODIFY at VARCHAR(30)"
    )
    said = table.refused()
    assert "column 'note' is int in the lake and string at the source (varchar(10))" in said
    assert "column 'amount' is decimal(18,2) in the lake and decimal(18,4) at the source (decimal(18,4))" in said
    assert "column 'big' is bigint in the lake and decimal(20,0) at the source (bigint(20) unsigned)" in said
    assert "column 'at' is timestamp_ntz in the lake and string at the source (varchar(30))" in said
    assert "Load it under a new dataset name" in said
    assert table.name in said
    table.alter("MODIFY note INT", "MODIFY amount DECIMAL(18,2)", "MODIFY big BIGINT", "MODIFY at DATETIME")

    table.alter("ADD COLUMN extra INT", "DROP COLUMN note", "MODIFY region BIGINT NOT NULL",
                "DROP PRIMARY KEY, ADD PRIMARY KEY (id, region)")  # fmt: skip
    said = table.refused(f"{key}, drift: freeze")
    assert "added extra (int); dropped note (int); region changed from int to bigint" in said
    assert "primary key changed from (id) to (id, region)" in said
    assert "Write drift: evolve" in said
    assert "'note'" in table.refused(f"{key}, expectations: {table.name}")
    assert "mask names 'note'" in table.refused(f"{key}, mask: {{note: drop}}")
    table.say()
    warned = table.warnings(ferry.plan(table.name, "warned"))
    assert "primary_key (id) holds no unique key of the table, whose own is (id, region)" in warned
    aurora.execute("CREATE UNIQUE INDEX one ON t (id)")
    assert "unique key" not in table.warnings(ferry.plan(table.name, "unique"))
    documents += [key for key in ferry.documents_of(table.name) if "warned" in key or "unique" in key]

    said = table.refused("primary_key: [id, region], write_disposition: merge")
    assert "primary_key was (id) and is (id, region)" in said
    said = table.refused(f"{key}, mask: {{email: truncate}}")
    assert "mask of 'email' was none and is truncate" in said
    table.alter("CHANGE email EMAIL VARCHAR(20)")
    assert "column 'EMAIL' is 'email' in the lake" in table.refused()
    table.alter("CHANGE updated_at moved_at DATETIME(6) NOT NULL")
    assert "'updated_at'" in table.refused()

    assert sorted(ferry.documents_of(table.name)) == sorted(documents)
    assert schemas == [str(ferry.catalog.load_table((space, table.name)).schema()) for space in ("raw", "curated")]


def test_a_change_in_the_middle_of_an_extract_is_never_half_taken(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ferry, "settings", ferry.settings.model_copy(update={"rows_per_slice": 2, "slices_per_commit": 1})
    )
    table = Drifting(ferry, aurora, "aurora", "id INT PRIMARY KEY, grown INT, gone INT, memo VARCHAR(5)")
    aurora.insert("t", [(n, n, n, "five5", "2026-01-01") for n in range(1, 9)])
    due: list[str] = []
    real_reader, real_event = AuroraSource.slice_reader, reconciled_read.event

    def altered(when: str) -> None:
        while due and due[0].startswith(when):
            aurora.execute(due.pop(0).removeprefix(when))

    def slice_reader(*arguments: Any, **named: Any) -> Any:
        reader = real_reader(*arguments, **named)
        altered("under the read: ")
        return reader

    def event(name: str, **fields: Any) -> None:
        real_event(name, **fields)
        if name == "appended":
            altered("between slices: ")

    monkeypatch.setattr(AuroraSource, "slice_reader", slice_reader)
    monkeypatch.setattr(reconciled_read, "event", event)

    def extracted(*changes: str) -> Any:
        due[:] = changes
        plan = ferry.plan(table.name, "run")
        assert len(plan.datasets[0].source.slices) > 1  # type: ignore[union-attr]
        code = ferry.run_stage(plan, "extract", "check")
        assert not due
        receipts = [r for r in ferry.receipts(table.name, "run") if r.generation == plan.generation]
        return code, receipts[-1]

    mixed = (
        # Values as planned, yet another schema than that of the slices before.
        ("between slices: ALTER TABLE t MODIFY grown BIGINT", None, "'grown' was int(11) and is bigint(20)"),
        # Values that the planned type cannot hold, in a read that has begun.
        (
            "under the read: ALTER TABLE t MODIFY gone BIGINT",
            "under the read: UPDATE t SET gone = 3000000000 + id",
            "'gone' was int(11) and is bigint(20)",
        ),
        ("between slices: ALTER TABLE t DROP COLUMN gone", None, "'gone' (bigint(20)) is gone"),
        ("under the read: ALTER TABLE t CHANGE memo renamed VARCHAR(5)", None, "'memo' (varchar(5)) is gone"),
    )
    for generation, (first, second, told) in enumerate(mixed, 1):
        code, receipt = extracted(*filter(None, (first, second)))
        assert (code, receipt.generation, receipt.error_type) == (3, generation, "SourceMoved")
        assert told in receipt.error
        assert ferry.published(table.name) == []

    # A longer VARCHAR, another place and a new column do not touch what was planned.
    code, receipt = extracted(
        "under the read: ALTER TABLE t MODIFY renamed VARCHAR(50) FIRST",
        "under the read: UPDATE t SET renamed = 'longer than five' WHERE id = 8",
        "between slices: ALTER TABLE t ADD COLUMN added INT DEFAULT 5",
    )
    assert (code, receipt.generation, receipt.published) == (0, 5, 8)
    rows = {row["id"]: row["renamed"] for row in ferry.lake_rows("curated", table.name)}
    assert rows == {**dict.fromkeys(range(1, 8), "five5"), 8: "longer than five"}
    assert "added" not in ferry.lake_rows("curated", table.name)[0]

    aurora.execute("INSERT INTO t (id, grown, added, updated_at) VALUES (9, 3000000000, 6, %s)", (aurora.now(),))
    aurora.settle()
    assert ferry.run(table.name, "next").code == 0
    loaded = ferry.warehouse_rows(table.target, "id, grown, added")
    assert {row["id"]: (row["grown"], row["added"]) for row in loaded} == {
        **{n: (n, None) for n in range(1, 9)},
        9: (3_000_000_000, 6),
    }


def test_a_key_that_changes_in_the_middle_of_an_extract_publishes_no_row_twice(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planned key says that no two rows share it, so nobody looks for such rows later."""
    table = Drifting(ferry, aurora, "aurora", "id INT PRIMARY KEY, region INT NOT NULL")
    aurora.insert("t", [(n, 1, "2026-01-01") for n in range(1, 4)])
    plan = ferry.plan(table.name, "run")
    real_reader = AuroraSource.slice_reader

    def slice_reader(*arguments: Any, **named: Any) -> Any:
        reader = real_reader(*arguments, **named)
        aurora.execute("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, region)")
        aurora.insert("t", [(1, 2, "2026-01-01")])
        return reader

    with monkeypatch.context() as altered:
        altered.setattr(AuroraSource, "slice_reader", slice_reader)
        assert ferry.run_stage(plan, "extract", "check") == 3
    [receipt] = [receipt for receipt in ferry.receipts(table.name, "run") if receipt.verdict == "failed"]
    assert receipt.error_type == "SourceMoved"
    assert "was (id) when it was planned and is (id, region)" in (receipt.error or "")
    assert ferry.published(table.name) == []
    # Planned again it is the rows that are asked, and two of them share the dataset's key.
    again = ferry.plan(table.name, "again")
    assert ferry.run_stage(again, "extract", "check") == 1
    failed = [receipt for receipt in ferry.receipts(table.name, "again") if receipt.verdict == "failed"]
    assert [receipt.error_type for receipt in failed] == ["DuplicateKey"]
    assert ferry.published(table.name) == []


def test_tidb_reads_the_columns_of_its_snapshot(ferry: Ferry, tidb: OwnDatabase) -> None:
    table = Drifting(ferry, tidb, "tidb", "id INT PRIMARY KEY, grown INT, gone INT, memo VARCHAR(5)")
    tidb.insert("t", [(1, 10, 20, "memo", "2026-01-01")])
    tidb.settle()
    plan = ferry.plan(table.name, "planned before")
    table.alter("MODIFY grown BIGINT", "DROP COLUMN gone", "CHANGE memo renamed VARCHAR(5)", "ADD COLUMN added INT")
    tidb.insert("t", [(2, 2**40, "two", tidb.now(), 7)])
    tidb.settle()

    assert ferry.run_stage(plan, "extract", "load") == 0
    [row] = ferry.warehouse_rows(table.target, "id, grown, gone, memo")
    assert tuple(row.values()) == (1, 10, 20, "memo")
    assert "added" not in ferry.lake_rows("curated", table.name)[0]

    assert ferry.run(table.name).code == 0
    loaded = ferry.warehouse_rows(table.target, "id, grown, gone, memo, renamed, added")
    assert sorted(tuple(row.values()) for row in loaded) == [
        (1, 10, 20, "memo", None, None),
        (2, 2**40, None, None, "two", 7),
    ]


def test_a_derived_dataset_evolves_or_stops(ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Drifting(ferry, aurora, "aurora", "id INT PRIMARY KEY, grown INT, gone INT")
    name, target = f"mirror_{aurora.name}", f"{ferry.warehouse_dataset()}.mirror"
    head = f"pipeline: {name}\nschedule: {{after: [{table.name}]}}\ndatasets:\n"
    entry = (
        f"  - {{name: {name}, inputs: [{table.name}], transform: tests.e2e.transforms:mirrored, primary_key: [id],"
        f" write_disposition: merge, bigquery: {{table: {target}}}"
    )
    ferry.spec(f"{head}{entry}}}\n")
    aurora.insert("t", [(1, 1, 1, "2026-01-01")])
    assert ferry.run(table.name).code == 0
    assert ferry.run(name).code == 0

    table.alter("MODIFY grown BIGINT", "ADD COLUMN added INT")
    aurora.insert("t", [(2, 2**40, 2, aurora.now(), 5)])
    aurora.settle()
    assert ferry.run(table.name).code == 0
    ferry.spec(f"{head}{entry}, drift: freeze}}\n")
    stopped = ferry.run(name, "again")
    assert stopped.code == 1
    receipt = stopped.receipt("transform", name)
    assert receipt.error_type == "SchemaBroken"
    assert "added added (int); grown changed from int to bigint" in str(receipt.error)

    ferry.spec(f"{head}{entry}}}\n")
    real = transforms.mirrored
    monkeypatch.setattr(
        transforms, "mirrored", lambda inputs, days: real(inputs, days).withColumnRenamed("gone", "id2")
    )
    assert ferry.run(name, "again").code == 0
    rows = ferry.warehouse_rows(target, "id, grown, gone, id2, added")
    assert sorted(tuple(row.values()) for row in rows) == [(1, 1, None, 1, None), (2, 2**40, None, 2, 5)]

    monkeypatch.setattr(transforms, "mirrored", lambda *of: real(*of).selectExpr("id", "'' AS grown"))
    aurora.insert("t", [(3, 3, 3, aurora.now(), 5)])
    aurora.settle()
    assert ferry.run(table.name).code == 0
    receipt = ferry.run(name).receipt("transform", name)
    assert "column 'grown' is bigint in the lake and string at the source (derived)" in str(receipt.error)
