"""Rows that a cursor's windows pass by: refused, reported, or read by what the spec says."""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase

DATASETS = {
    "ids": ("id INT AUTO_INCREMENT PRIMARY KEY, v INT", "cursor: id"),
    "ms": ("id INT PRIMARY KEY, updated_ms BIGINT NOT NULL", "cursor: updated_ms"),
    "back": ("id INT PRIMARY KEY, v INT", "cursor: id, lookback: 5"),
    "zero": (
        "id INT PRIMARY KEY, at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', KEY (at)",
        "cursor: at",
    ),
    "aside": (
        "id INT PRIMARY KEY, at DATE NOT NULL DEFAULT '0000-00-00', KEY (at)",
        "cursor: at, null_cursors: quarantine",
    ),
    "taken": (
        "id INT PRIMARY KEY, v INT, at TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00', KEY (at)",
        "cursor: at, null_cursors: include, zero_dates: text, lookback_seconds: 60",
    ),
}


def test_rows_that_no_window_holds_are_never_passed_by_in_silence(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("SET sql_mode = ''")
    name = f"u_{aurora.name}"
    target = ferry.warehouse_dataset()
    lines = []
    for dataset, (columns, keys) in DATASETS.items():
        aurora.execute(f"CREATE TABLE {dataset} ({columns})")
        lines.append(
            f"  - {{name: {name}_{dataset}, table: {aurora.name}.{dataset}, primary_key: [id], lag_seconds: 1,"
            f" write_disposition: merge, {keys}, bigquery: {{table: {target}.{dataset}}}}}\n"
        )
    ferry.spec(f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n{''.join(lines)}")
    aurora.execute("INSERT INTO ids (v) VALUES " + ", ".join(["(1)"] * 1000))
    aurora.execute("INSERT INTO ms SELECT 1, UNIX_TIMESTAMP() * 1000 - 5000 UNION SELECT 2, 9999999999999")
    aurora.execute("INSERT INTO back VALUES (90, 1), (99, 1), (100, 1)")
    for dataset in ("zero", "aside"):
        aurora.execute(f"INSERT INTO {dataset} VALUES (1, '2026-01-01')")
    aurora.execute("INSERT INTO taken VALUES (1, 1, '2026-01-01')")
    aurora.settle()
    first = ferry.run(name)
    assert first.code == 0

    aurora.execute("TRUNCATE ids")
    aurora.execute("INSERT INTO ids (v) VALUES (1), (2), (3), (4), (5)")
    aurora.execute("INSERT INTO ms SELECT 3, UNIX_TIMESTAMP() * 1000 UNION SELECT 4, UNIX_TIMESTAMP() * 1000")
    # 98 is within the lookback, 101 after the position; 99 changed, 90 is further back than the lookback reaches.
    aurora.execute("INSERT INTO back VALUES (98, 1), (101, 1)")
    aurora.execute("UPDATE back SET v = 2 WHERE id IN (90, 99)")
    for dataset in ("zero", "aside", "taken"):
        aurora.execute(f"INSERT INTO {dataset} (id) VALUES (2)")
    aurora.settle()
    second = ferry.run(name)
    assert second.code == 1
    assert set(second.plan.failures) == {f"{name}_ids", f"{name}_zero"}
    ids, zero = (second.plan.failures[f"{name}_{dataset}"].error for dataset in ("ids", "zero"))
    assert "is 5 and the server gives the next row 6, but the published position is 1001" in ids
    assert "1 row of" in zero
    assert "NULL or a zero date" in zero
    for ran in (first, second):
        source = ran.plan.dataset(f"{name}_ms").source
        warnings = source.warnings if source else ()
        assert any("is 9999999999999, far ahead: the clock is 1" in text for text in warnings)
    back = second.receipt("check", f"{name}_back")
    assert back.published == 3
    assert {row["id"]: row["v"] for row in ferry.lake_rows("curated", f"{name}_back")} == {
        90: 1, 98: 1, 99: 2, 100: 1, 101: 1,
    }  # fmt: skip
    aside = second.receipt("check", f"{name}_aside")
    assert (aside.published, aside.quarantined) == (0, 1)
    taken = second.receipt("check", f"{name}_taken")
    assert taken.published == 1

    # What is known moves no second time, and a zero-dated row that changes does.
    aurora.execute("UPDATE taken SET v = 9 WHERE id = 2")
    aurora.settle()
    third = ferry.run(name)
    assert third.receipt("check", f"{name}_back").published == 0
    aside = third.receipt("check", f"{name}_aside")
    assert (aside.published, aside.quarantined) == (0, 0)
    assert third.receipt("check", f"{name}_taken").published == 1
    assert {row["id"]: row["v"] for row in ferry.lake_rows("curated", f"{name}_taken")} == {1: 1, 2: 9}
