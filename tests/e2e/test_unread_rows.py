"""Rows that a cursor's windows pass by: refused, reported, or read by what the spec says."""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase, Ran

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
    assert any("2 rows of" in text and "the position is 10000000000000" in text for text in warnings)
    back = second.receipt("check", f"{name}_back")
    assert back.published == 3
    assert {row["id"]: row["v"] for row in ferry.lake_rows("curated", f"{name}_back")} == {
        90: 1, 98: 1, 99: 2, 100: 1, 101: 1,
    }  # fmt: skip
    aside = second.receipt("check", f"{name}_aside")
    assert (aside.published, aside.quarantined) == (0, 1)
    taken = second.receipt("check", f"{name}_taken")
    assert taken.published == 1

    # A known row moves no second time, and a zero-dated row that changes does.
    aurora.execute("UPDATE taken SET v = 9 WHERE id = 2")
    aurora.settle()
    third = ferry.run(name)
    assert third.receipt("check", f"{name}_back").published == 0
    aside = third.receipt("check", f"{name}_aside")
    assert (aside.published, aside.quarantined) == (0, 0)
    assert third.receipt("check", f"{name}_taken").published == 1
    assert {row["id"]: row["v"] for row in ferry.lake_rows("curated", f"{name}_taken")} == {1: 1, 2: 9}


def test_local_time_is_reported_and_once_its_zone_is_named_nothing_is_missing(
    ferry: Ferry, aurora: OwnDatabase
) -> None:
    name = f"z_{aurora.name}"
    target = ferry.warehouse_dataset()
    dispositions = ("merge", "append")
    for disposition in dispositions:
        aurora.execute(f"CREATE TABLE {disposition}s (id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at))")

    def run(zone: str) -> Ran:
        ferry.spec(
            f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
            + "".join(
                f"  - {{name: {name}_{disposition}, table: {aurora.name}.{disposition}s, primary_key: [id],"
                f" cursor: at, lag_seconds: 1, {zone} write_disposition: {disposition},"
                f" bigquery: {{table: {target}.{disposition}s}}}}\n"
                for disposition in dispositions
            )
        )
        aurora.settle()
        ran = ferry.run(name)
        assert ran.code == 0
        return ran

    def write(sql: str) -> None:
        # A clock in Honolulu, ten hours behind UTC all the year.
        for disposition in dispositions:
            aurora.execute(sql.format(table=f"{disposition}s", now="UTC_TIMESTAMP(6) - INTERVAL 10 HOUR"))

    def published(ran: Ran) -> list[int | None]:
        return [ran.receipt("check", f"{name}_{disposition}").published for disposition in dispositions]

    write("INSERT INTO {table} VALUES (1, {now}), (2, {now})")
    assert published(run("")) == [2, 2]
    write("INSERT INTO {table} VALUES (3, {now})")
    blind = run("")
    assert [dataset.state for dataset in blind.plan.datasets] == ["empty", "empty"]
    for disposition in dispositions:
        source = blind.plan.dataset(f"{name}_{disposition}").source
        assert any("came behind" in text and "cursor_time_zone" in text for text in (source.warnings if source else ()))
    healed = run("cursor_time_zone: Pacific/Honolulu,")
    assert published(healed) == [1, 1]
    write("INSERT INTO {table} VALUES (4, {now})")
    aurora.execute("UPDATE merges SET at = UTC_TIMESTAMP(6) - INTERVAL 10 HOUR WHERE id = 1")
    last = run("cursor_time_zone: Pacific/Honolulu,")
    assert published(last) == [2, 1]
    for disposition in dispositions:
        source = last.plan.dataset(f"{name}_{disposition}").source
        assert source is not None
        assert source.warnings == ()
        rows = {row[0]: row[1] for row in aurora.rows(f"SELECT id, at FROM {disposition}s")}
        loaded = ferry.warehouse_rows(f"{target}.{disposition}s", "id, `at`")
        assert sorted((row["id"], row["at"]) for row in loaded) == sorted(rows.items())
        curated = ferry.lake_rows("curated", f"{name}_{disposition}")
        assert {row["id"]: row["at"] for row in curated} == rows
    shown = ferry.cli("status", name)
    assert shown.returncode == 0
    assert "h ago" not in shown.stdout
