"""Keys and texts that the source sees otherwise than the lake: respelled keys, and text that Unicode does not hold."""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase

MOVED = "updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at)"


def test_a_respelled_key_has_one_live_row_and_altered_text_is_set_aside(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = aurora.name, ferry.warehouse_dataset()
    aurora.execute("SET sql_mode = ''")
    codes = f"code VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT, {MOVED}"
    aurora.execute(f"CREATE TABLE swept ({codes})")
    aurora.execute(f"CREATE TABLE plain ({codes})")
    for table in ("swept", "plain"):
        aurora.execute(f"INSERT INTO {table} (code, v) VALUES ('abc', 1), ('a', 1), ('z', 1)")
    aurora.execute("CREATE TABLE texts (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET sjis)")
    aurora.execute("INSERT INTO texts VALUES (1, _sjis X'8740'), (2, _sjis X'FBFC'), (3, _sjis X'955C5C'), (4, '?')")
    # Two codes of cp932 for one character of Unicode.
    aurora.execute("CREATE TABLE twins (k VARCHAR(9) CHARACTER SET cp932 COLLATE cp932_bin PRIMARY KEY, v INT)")
    aurora.execute("INSERT INTO twins VALUES (_cp932 X'81E0', 1), (_cp932 X'8790', 2)")
    pipeline = ferry.spec(
        f"""\
        pipeline: p_{name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - {{name: swept_{name}, table: {name}.swept, primary_key: [code], cursor: updated_at, lag_seconds: 1,
             write_disposition: merge, deletes: sweep, bigquery: {{table: {target}.swept}}}}
          - {{name: plain_{name}, table: {name}.plain, primary_key: [code], cursor: updated_at, lag_seconds: 1,
             write_disposition: merge, bigquery: {{table: {target}.plain}}}}
          - {{name: texts_{name}, table: {name}.texts, primary_key: [id], write_disposition: merge,
             bigquery: {{table: {target}.texts}}}}
          - {{name: twins_{name}, table: {name}.twins, primary_key: [k], write_disposition: merge, deletes: ignore,
             bigquery: {{table: {target}.twins}}}}
        """
    )
    aurora.settle()
    first = ferry.run(pipeline)
    assert first.code == 0

    texts = first.receipt("check", f"texts_{name}")
    assert (texts.read, texts.published, texts.quarantined) == (4, 2, 2)
    assert sorted((row["id"], row["v"]) for row in ferry.warehouse_rows(f"{target}.texts")) == [(3, "表\\"), (4, "?")]
    assert {row["reason"] for row in ferry.lake_rows("quarantine", f"texts_{name}")} == {
        "v: sjis text that Unicode does not give back"
    }
    assert [(row["k"], row["v"]) for row in ferry.warehouse_rows(f"{target}.twins")] == [("≒", 1)]
    [twin] = ferry.lake_rows("quarantine", f"twins_{name}")
    assert twin["reason"] == "k: cp932 text that Unicode does not give back"

    for table in ("swept", "plain"):
        aurora.execute(f"UPDATE {table} SET code = 'ABC', v = 2 WHERE code = 'abc'")
        aurora.execute(f"UPDATE {table} SET code = 'a ', v = 2 WHERE code = 'a'")
    aurora.settle()
    second = ferry.run(pipeline)
    assert second.code == 0
    at_source = [("ABC", 2), ("a ", 2), ("z", 1)]
    for rows in (ferry.lake_rows("curated", f"swept_{name}"), ferry.warehouse_rows(f"{target}.swept")):
        live = [row for row in rows if row["_deleted_at"] is None]
        assert sorted((row["code"], row["v"]) for row in live) == at_source
    # Nothing looks for what is gone, and the plan has said so.
    rows = ferry.warehouse_rows(f"{target}.plain")
    assert sorted((row["code"], row["v"]) for row in rows) == sorted([*at_source, ("abc", 1), ("a", 1)])
    warned = {
        dataset.name.partition("_")[0]: [text for text in dataset.source.warnings if "treats 'abc' and 'ABC'" in text]
        for dataset in second.plan.datasets
        if dataset.source is not None
    }
    assert {table: len(told) for table, told in warned.items()} == {"swept": 0, "plain": 1, "texts": 0, "twins": 0}
