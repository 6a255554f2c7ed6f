"""A batch of which too many rows are rejected stops its dataset, and nothing of it is published."""

from __future__ import annotations

from datetime import timedelta

from tests.e2e.ferry import Ferry, OwnDatabase, events_of

AGAIN = {
    "whole": "description: read without a cursor",
    "masked": "mask: {phone: drop}",
    "nulls": "cursor: updated_at\n    lag_seconds: 1\n    null_cursors: quarantine",
}
"""Datasets of which 12 of 132 rows are bad, the same in every run: they break a rule, they cannot be decoded, they have
no cursor value."""
RULES = "rows:\n  - expect_column_values_to_be_between: {column: v, min_value: 0}\n"


def _pipeline(ferry: Ferry, database: OwnDatabase, target: str, few_more: str = "", trickle_more: str = "") -> str:
    """Datasets `few` (3 of 20 rows are bad), `edge` (2 of 20), `all` (accepts all), `trickle` (bad rows only)."""
    name = database.name
    ferry.suite(name, RULES)
    datasets = {"few": few_more, "edge": "", "all": "most_quarantined: 1", "trickle": trickle_more}
    entries = "".join(
        f"  - name: {name}_{kind}\n"
        f"    table: {name}.{'few' if kind == 'all' else kind}\n"
        "    primary_key: [id]\n"
        "    cursor: updated_at\n"
        "    lag_seconds: 1\n"
        "    write_disposition: merge\n"
        f"    expectations: {name}\n"
        f"    bigquery: {{table: {target}.{kind}}}\n" + (f"    {more}\n" if more else "")
        for kind, more in datasets.items()
    ) + "".join(
        f"  - name: {name}_{kind}\n"
        f"    table: {name}.{kind}\n"
        "    primary_key: [id]\n"
        f"    {more}\n"
        "    write_disposition: merge\n"
        f"    expectations: {name}\n"
        f"    bigquery: {{table: {target}.{kind}}}\n"
        for kind, more in AGAIN.items()
    )
    return ferry.spec(f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n{entries}")


def test_a_batch_of_rejected_rows_is_not_published(ferry: Ferry, aurora: OwnDatabase) -> None:
    for table, bad in (("few", 3), ("edge", 2), ("trickle", 6)):
        aurora.execute(
            f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT, updated_at TIMESTAMP(6) NOT NULL DEFAULT NOW(6)"
            " ON UPDATE NOW(6), KEY (updated_at))"
        )
        rows = 6 if table == "trickle" else 20
        aurora.execute(
            f"INSERT INTO {table} (id, v) VALUES "
            + ",".join(f"({n}, {-1 if n <= bad else n})" for n in range(1, rows + 1))
        )
    for table in AGAIN:
        aurora.execute(
            f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT, day DATE, phone VARCHAR(20), updated_at DATETIME(6),"
            " KEY (updated_at))"
        )
        aurora.insert(
            table,
            [
                (
                    n,
                    -1 if table == "whole" and n <= 12 else n,
                    "0000-00-00" if table == "masked" and n <= 12 else "2026-01-01",
                    "1",
                    None if table == "nulls" and n <= 12 else "2026-01-01",
                )
                for n in range(1, 133)
            ],
        )
    began = aurora.now()
    aurora.settle()
    target, name = ferry.warehouse_dataset(), aurora.name
    _pipeline(ferry, aurora, target)
    ran = ferry.cli_here("run", name, "--run-id", "first")
    assert ran.returncode == 1, ran.stderr
    receipts = {(left.stage, left.dataset): left for left in ferry.receipts(name, "first")}
    refused = receipts["check", f"{name}_few"]
    assert (refused.verdict, refused.error_type, refused.exit_code) == ("failed", "TooManyRejected", 1)
    assert refused.error is not None
    for words in (
        f"dataset {name}_few: 3 of 20 rows were rejected, more than most_quarantined: 0.1",
        "v must be at least 0 (3)",
        "most_quarantined: 0.15",
        f"lakeferry quarantine {name}",
    ):
        assert words in refused.error
    assert ("load", f"{name}_few") not in receipts
    assert (ferry.published(f"{name}_few"), ferry.lake_rows("curated", f"{name}_few")) == ([], [])
    done = {kind: receipts["check", f"{name}_{kind}"] for kind in ("edge", "all", "trickle")}
    assert {kind: (left.published, left.quarantined) for kind, left in done.items()} == {
        "edge": (18, 2),
        "all": (17, 3),
        "trickle": (0, 6),
    }
    warnings = {event["dataset"]: event["warning"] for event in events_of(ran) if event["event"] == "warning"}
    assert warnings == {f"{name}_trickle": "every row of the batch was rejected: v must be at least 0 (6)"}

    # The refused rows can be looked at, and stay where they were found.
    shown = ferry.cli("quarantine", name, "--dataset", f"{name}_few").stdout
    assert "not published" in shown
    status = ferry.cli("status", name, COLUMNS="900")
    assert status.returncode == 1
    assert "3 of 20 rows were rejected, more than most_quarantined: 0.1" in status.stdout
    assert "every row of the last batch was rejected (6)" in status.stdout
    page = ferry.document("page/index.html")
    assert "3 of 20 rows were rejected" in page
    assert "Every row of the last batch was rejected" in page

    assert {kind: receipts["check", f"{name}_{kind}"].quarantined for kind in AGAIN} == dict.fromkeys(AGAIN, 12)

    # A window that is asked for reads rows that were set aside before: they join no others.
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (began - timedelta(minutes=1), aurora.now()))
    asked = ferry.cli_here(
        "run", name, "--run-id", "asked", "--dataset", f"{name}_trickle", "--start", start, "--end", end
    )
    assert asked.returncode == 0, asked.stdout
    [check] = [left for left in ferry.receipts(name, "asked") if left.stage == "check"]
    assert (check.published, check.quarantined) == (0, 6)
    assert "every row of the batch was rejected" in asked.stdout

    # A new column changes every record, so rows that were set aside before are set aside once more. They are not news.
    aurora.execute("ALTER TABLE whole ADD COLUMN note INT")
    aurora.execute("ALTER TABLE nulls ADD COLUMN note INT")

    # The spec accepts the share: the same rows are read again. Batches that bring nothing count together.
    aurora.execute("INSERT INTO trickle (id, v) VALUES (7, -1), (8, -1), (9, -1), (10, -1)")
    aurora.settle()
    _pipeline(ferry, aurora, target, few_more="most_quarantined: 0.15")
    second = ferry.run(name)
    check = second.receipt("check", f"{name}_few")
    assert (check.verdict, check.read, check.published, check.quarantined) == ("done", 20, 17, 3)
    again = {kind: second.receipt("check", f"{name}_{kind}") for kind in AGAIN}
    assert {kind: (left.verdict, left.known, left.quarantined) for kind, left in again.items()} == {
        "whole": ("done", 120, 12),
        "masked": ("empty", 132, 0),
        "nulls": ("done", 0, 12),
    }
    stopped = second.receipt("check", f"{name}_trickle")
    assert stopped.error_type == "TooManyRejected"
    assert "4 of 4 rows were rejected, and each of the 6 rows of the batches right before" in str(stopped.error)
    assert len(ferry.warehouse_rows(f"{target}.few", "id")) == 17

    # The source is mended: nothing stands in the way, and nothing was passed over.
    aurora.execute("UPDATE trickle SET v = 1 WHERE id > 6")
    aurora.settle()
    third = ferry.run(name)
    check = third.receipt("check", f"{name}_trickle")
    assert (third.code, check.published, check.quarantined) == (0, 4, 0)
    assert sorted(row["id"] for row in ferry.warehouse_rows(f"{target}.trickle", "id")) == [7, 8, 9, 10]
