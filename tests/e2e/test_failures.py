"""A rule that says no, keys that stand twice, values the warehouse refuses: nothing half done, and the way back."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.ferry import Ferry, OwnDatabase

HARMLESS = "rows:\n  - expect_column_values_to_not_be_null: {column: id}\n"


def _pipeline(ferry: Ferry, database: OwnDatabase, *, rules: str, primary_key: str = "id") -> tuple[str, str]:
    name = f"f_{database.name}"
    target = f"{ferry.warehouse_dataset()}.t"
    ferry.suite(name, rules)
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {database.name}.t
            primary_key: [{primary_key}]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            expectations: {name}
            bigquery: {{table: {target}}}
        """
    )
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, kind VARCHAR(10), updated_at DATETIME(6), KEY (updated_at))")
    return name, target


def test_a_failing_dataset_rule_leaves_everything_as_it_was(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = _pipeline(
        ferry, aurora, rules="dataset:\n  - expect_table_row_count_to_be_between: {min_value: 2, max_value: 10}\n"
    )
    aurora.insert("t", [(1, "a", "2026-01-01 00:00:00"), (2, "b", "2026-01-01 00:00:01")])
    assert ferry.run(name).code == 0
    untouched = [ferry.snapshot(namespace, name) for namespace in ("raw", "curated")]
    aurora.insert("t", [(3, "c", aurora.now())])
    aurora.settle()

    red = ferry.run(name, "red")
    assert red.code == 1
    receipt = red.receipt("check", name)
    assert receipt.verdict == "failed"
    assert receipt.error is not None
    assert name in receipt.error
    assert "clear plan with downstream" in receipt.error
    assert "index.html" in receipt.error, "the Data Docs that say why"
    assert [ferry.snapshot(namespace, name) for namespace in ("raw", "curated")] == untouched
    assert sorted(row["id"] for row in ferry.warehouse_rows(target, "id")) == [1, 2]

    # The same plan again is the same answer; with the data right, the next generation is green.
    aurora.insert("t", [(4, "d", aurora.now())])
    aurora.settle()
    green = ferry.run(name, "red")
    assert green.code == 0
    assert [entry.generation for entry in green.plan.datasets] == [2]
    assert sorted(row["id"] for row in ferry.warehouse_rows(target, "id")) == [1, 2, 3, 4]


def test_a_key_that_stands_twice_in_one_snapshot_stops_the_batch(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, _ = _pipeline(ferry, aurora, rules=HARMLESS, primary_key="kind")
    aurora.insert("t", [(1, "same", "2026-01-01 00:00:00"), (2, "same", "2026-01-01 00:00:00")])
    ran = ferry.run(name)
    assert ran.code == 1
    receipt = ran.receipt("check", name)
    assert receipt.error_type == "DuplicateKey"
    assert receipt.error is not None
    assert "kind" in receipt.error
    assert ferry.lake_rows("raw", name) == []


def test_a_batch_of_bad_rows_only_moves_the_position(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, _ = _pipeline(
        ferry, aurora, rules="rows:\n  - expect_column_values_to_be_in_set: {column: kind, value_set: [good]}\n"
    )
    aurora.insert("t", [(1, "bad", "2026-01-01 00:00:00"), (2, "worse", "2026-01-01 00:00:01")])
    ran = ferry.run(name)
    assert ran.code == 0
    check = ran.receipt("check", name)
    assert (check.read, check.published, check.quarantined) == (2, 0, 2)
    assert [entry.state for entry in ferry.run(name).plan.datasets] == ["empty"]
    assert len(ferry.lake_rows("quarantine", name)) == 2
    shown = ferry.cli("quarantine", name)
    assert shown.returncode == 0, shown.stderr
    [cells] = [line.split("│") for line in shown.stdout.splitlines() if name in line]
    assert cells[1].strip() == name
    assert cells[2].strip() == "2"
    assert cells[3].strip().startswith("20"), "when the first of them was set aside"
    assert "kind" in cells[7]
    assert "worse" not in shown.stdout
    assert "worse" in ferry.cli("quarantine", name, "--records").stdout


def test_one_dataset_fails_and_the_other_arrives(ferry: Ferry, aurora: OwnDatabase) -> None:
    good, bad = f"good_{aurora.name}", f"bad_{aurora.name}"
    target = ferry.warehouse_dataset()
    ferry.suite(bad, "dataset:\n  - expect_table_row_count_to_be_between: {min_value: 5, max_value: 9}\n")
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6), KEY (updated_at))")
    aurora.insert("t", [(1, "2026-01-01 00:00:00")])
    name = f"both_{aurora.name}"
    lines = [
        f"  - {{name: {dataset}, table: {aurora.name}.t, primary_key: [id], cursor: updated_at, lag_seconds: 1,"
        f" write_disposition: merge, bigquery: {{table: {target}.{dataset}}}{suite}}}"
        for dataset, suite in ((good, ""), (bad, f", expectations: {bad}"))
    ]
    ferry.spec(
        f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        + "\n".join(lines)
        + "\n"
    )
    ran = ferry.run(name)
    assert ran.code == 1
    assert ran.receipt("load", good).loaded == 1
    assert ran.receipt("check", bad).verdict == "failed"
    assert [row["id"] for row in ferry.warehouse_rows(f"{target}.{good}", "id")] == [1]
    shown = ferry.cli("show", good)
    assert shown.returncode == 0, shown.stderr
    assert "2026-01-01" in shown.stdout
    unloaded, unknown = ferry.cli("show", bad), ferry.cli("show", "nobody")
    assert (unloaded.returncode, unknown.returncode) == (2, 2)
    assert "nothing of it was loaded yet" in unloaded.stderr
    assert good in unknown.stderr
    never = ferry.cli("receipts", name, "--run-id", "never")
    assert never.returncode == 2
    assert ran.plan.run_id in never.stderr


def test_a_dataset_that_cannot_be_planned_stops_nothing_else(ferry: Ferry, aurora: OwnDatabase) -> None:
    good, gone, target = f"good_{aurora.name}", f"gone_{aurora.name}", ferry.warehouse_dataset()
    aurora.execute("CREATE TABLE good (id INT PRIMARY KEY)")
    aurora.insert("good", [(1,)])
    name = f"part_{aurora.name}"
    lines = [
        f"  - {{name: {dataset}, table: {aurora.name}.{table}, write_disposition: replace,"
        f" bigquery: {{table: {target}.{table}}}}}\n"
        for dataset, table in ((good, "good"), (gone, "gone"))
    ]
    ferry.spec(f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n" + "".join(lines))
    planned = ferry.cli("plan", name)
    assert planned.returncode == 2
    assert f"{name}.yaml:5 pipeline {name} dataset {gone}: table {aurora.name}.gone is not there" in planned.stderr
    assert ferry.documents_of(name) == []

    ran = ferry.cli_here("run", name, "--run-id", "one")
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("gone is not there") == 1
    assert ferry.warehouse_rows(f"{target}.good", "id") == [{"id": 1}]
    left = {(receipt.dataset, receipt.stage): receipt for receipt in ferry.receipts(name, "one")}
    assert left[gone, "plan"].verdict == "failed"
    assert left[gone, "plan"].exit_code == 2
    assert {dataset for dataset, stage in left if stage == "load"} == {good}
    shown = ferry.cli("status", name)
    assert shown.returncode == 2
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.stdout.splitlines() if "│" in line]
    results = {row[2]: row for row in rows}
    assert "done" in results[good]
    assert "failed" in results[gone]

    # With the table there, the same run goes on: what is done stays as it is.
    aurora.execute("CREATE TABLE gone (id INT PRIMARY KEY)")
    aurora.insert("gone", [(2,)])
    again = ferry.run(name, "one")
    assert again.code == 0
    assert {entry.name: entry.generation for entry in again.plan.datasets} == {good: 1, gone: 2}
    assert ferry.warehouse_rows(f"{target}.gone", "id") == [{"id": 2}]


def test_no_secret_stands_in_what_a_run_leaves(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, _ = _pipeline(ferry, aurora, rules=HARMLESS)
    aurora.insert("t", [(1, "a", "2026-01-01 00:00:00")])
    ran = ferry.process("run", name)
    assert ran.returncode == 0, ran.stderr
    password = aurora.password
    logs = [path.read_text(encoding="utf-8") for path in Path(ferry.settings.state_dir).rglob("*.log")]
    documents = [ferry.document(key) for key in ferry.documents_of(name)]
    assert documents
    assert logs
    assert ran.stdout
    for text in [ran.stdout, ran.stderr, *logs, *documents]:
        assert password not in text
