"""One run id that is asked for again: for another window, for its window once more, and as a retry."""

from __future__ import annotations

import os

import pytest

from connectors.base import Window
from jobs.runs.run_request import Invocation
from jobs.spec.reader import load_pipeline
from jobs.stages.plan.planner import make_plan
from tests.e2e.ferry import Ferry, OwnDatabase

MAY = Window(start="2026-05-01T00:00:00Z", end="2026-06-01T00:00:00Z")
JUNE = Window(start="2026-06-01T00:00:00Z", end="2026-07-01T00:00:00Z")
RUN = "backfill__2026-05-01T00:00:00+00:00"


def test_each_request_of_one_run_id_is_moved_and_nothing_is_doubled(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, database, target = f"a_{aurora.name}", aurora.name, ferry.warehouse_dataset()
    merged, appended = f"m_{database}", f"i_{database}"
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
    aurora.insert("t", [(1, 10, "2026-05-01"), (2, 20, "2026-05-02"), (3, -1, "2026-05-03"), (4, 40, "2026-06-01")])
    ferry.suite(name, "rows:\n  - expect_column_values_to_be_between: {column: v, min_value: 0}\n")
    keys = (
        f"table: {database}.t, primary_key: [id], cursor: updated_at, lag_seconds: 1, most_quarantined: 1, "
        f"expectations: {name}"
    )
    ferry.spec(
        f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        f"  - {{name: {merged}, {keys}, write_disposition: merge, bigquery: {{table: {target}.m}}}}\n"
        f"  - {{name: {appended}, {keys}, write_disposition: append, bigquery: {{table: {target}.i}}}}\n"
    )
    spec = load_pipeline(ferry.settings.pipelines, name)

    def ask(window: Window, clear_number: int) -> int:
        plan = make_plan(spec, RUN, ferry.settings, window=window, invocation=Invocation(clear_number=clear_number))
        assert ferry.run_stage(plan, "extract", "load") == 0
        return plan.generation

    def counts(generation: int) -> dict[tuple[str, str], tuple[int | None, int | None, int | None]]:
        return {
            (receipt.dataset[0], receipt.stage): (receipt.published, receipt.quarantined, receipt.loaded)
            for receipt in ferry.receipts(name, RUN)
            if receipt.generation == generation and receipt.stage in ("check", "load")
        }

    def in_warehouse(table: str) -> list[int]:
        return sorted(row["id"] for row in ferry.warehouse_rows(f"{target}.{table}", "id"))

    assert ask(MAY, 0) == 1
    assert in_warehouse("m") == in_warehouse("i") == [1, 2]
    assert ask(JUNE, 0) == 2
    assert in_warehouse("m") == in_warehouse("i") == [1, 2, 4]
    for kind in "mi":
        assert counts(2)[kind, "check"] == (1, 0, None)
        assert counts(2)[kind, "load"] == (1, None, 1), "what generation 1 has loaded is in its own receipt"

    aurora.insert("t", [(5, 50, "2026-05-05")])
    assert ask(JUNE, 0) == 2, "a retry moves nothing"
    assert ask(MAY, 1) == 3
    assert in_warehouse("m") == in_warehouse("i") == [1, 2, 4, 5]
    for kind in "mi":
        assert counts(3)[kind, "check"] == (3, 1, None)
        assert counts(3)[kind, "load"] == (3, None, 3)
    assert len(ferry.lake_rows("quarantine", merged)) == 2, "each published batch has its rejected row"


def test_work_begun_under_one_spec_is_not_published_under_another(ferry: Ferry, aurora: OwnDatabase) -> None:
    """A driver died after extract, and the YAML was changed meanwhile."""
    name, database, target = f"a_{aurora.name}", aurora.name, ferry.warehouse_dataset()
    keyed, masked, gone = (f"{kind}_{database}" for kind in ("keyed", "masked", "gone"))
    aurora.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, region INT NOT NULL, phone VARCHAR(20), updated_at DATETIME(6) NOT NULL,"
        " KEY (updated_at))"
    )
    aurora.insert("t", [(1, 10, "09012345678", "2026-05-01"), (2, 20, "08087654321", "2026-05-02")])

    of_table = f"table: {database}.t, cursor: updated_at, lag_seconds: 1, write_disposition: merge"
    absent = f"{{name: {gone}, table: {database}.gone, write_disposition: replace, bigquery: {{table: {target}.g}}}}"

    def spec(*datasets: str) -> None:
        lines = "".join(f"  - {dataset}\n" for dataset in datasets)
        ferry.spec(f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n{lines}")

    def by_key(key: str) -> str:
        return f"{{name: {keyed}, {of_table}, primary_key: {key}, bigquery: {{table: {target}.k}}}}"

    def with_mask(mask: str) -> str:
        return f"{{name: {masked}, {of_table}, primary_key: [id], {mask}bigquery: {{table: {target}.m}}}}"

    spec(by_key("[id]"))
    assert ferry.run(name, "run-1").code == 0
    aurora.execute("UPDATE t SET region = 11, updated_at = UTC_TIMESTAMP(6) WHERE id = 1")
    aurora.settle()
    spec(by_key("[id]"), with_mask(""), absent)
    first = ferry.plan(name, "run-2")
    assert ferry.run_stage(first, "extract", "extract") == 0
    spec(by_key("[id, region]"), with_mask("mask: {phone: 'null'}, "))
    second = ferry.plan(name, "run-2")
    assert {entry.name: (entry.state, entry.generation) for entry in second.datasets} == {
        keyed: ("failed", 2),
        masked: ("planned", 2),
    }
    assert "primary_key" in second.failures[keyed].error
    assert ferry.run_stage(second, "extract", "load") == 0
    assert {row["phone"] for row in ferry.warehouse_rows(f"{target}.m", "phone")} == {None}
    assert {row["phone"] for row in ferry.lake_rows("curated", masked)} == {None}
    assert sorted((row["id"], row["region"]) for row in ferry.warehouse_rows(f"{target}.k", "id, region")) == [
        (1, 10),
        (2, 20),
    ]


def test_a_table_that_is_locked_holds_no_other_back(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, database, target = f"a_{aurora.name}", aurora.name, ferry.warehouse_dataset()
    for table in ("busy", "t"):
        aurora.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
    aurora.insert("t", [(1, "2026-05-01")])
    lines = "".join(
        f"  - {{name: {table}_{database}, table: {database}.{table}, primary_key: [id], cursor: updated_at, "
        f"lag_seconds: 1, write_disposition: merge, bigquery: {{table: {target}.{table}}}}}\n"
        for table in ("busy", "t")
    )
    ferry.spec(f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n{lines}")
    uri = os.environ["AIRFLOW_CONN_AURORA_PAYMENTS"]
    monkeypatch.setenv("AIRFLOW_CONN_AURORA_PAYMENTS", f"{uri}{'&' if '?' in uri else '?'}read_timeout_seconds=3")
    aurora.execute("LOCK TABLES busy WRITE")
    for generation in (1, 2):
        plan = ferry.plan(name, "run-1")
        assert {entry.name: (entry.state, entry.generation) for entry in plan.datasets} == {
            f"busy_{database}": ("failed", generation),
            f"t_{database}": ("planned", 1),
        }
    aurora.execute("UNLOCK TABLES")
    assert ferry.run_stage(plan, "extract", "load") == 0
    assert [row["id"] for row in ferry.warehouse_rows(f"{target}.t", "id")] == [1]


def test_a_window_that_is_published_is_loaded_and_not_read_again(ferry: Ferry, aurora: OwnDatabase) -> None:
    """The YAML was changed between check and load: an appended window would be in raw twice."""
    name, database, target = f"a_{aurora.name}", aurora.name, ferry.warehouse_dataset()
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
    aurora.insert("t", [(1, 10, "2026-05-01"), (2, 20, "2026-05-02")])

    def spec(more: str) -> None:
        ferry.spec(
            f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
            f"  - {{name: {name}, {more}table: {database}.t, primary_key: [id], cursor: updated_at, lag_seconds: 1, "
            f"write_disposition: append, bigquery: {{table: {target}.i}}}}\n"
        )

    spec("")
    assert ferry.run_stage(ferry.plan(name, RUN, MAY), "extract", "check") == 0
    spec("description: payments, ")
    assert ferry.plan(name, RUN, MAY).generation == 1, "a description says nothing of rows"
    spec("most_quarantined: 0.5, ")
    plan = ferry.plan(name, RUN, MAY)
    [entry] = plan.datasets
    assert (entry.generation, entry.state, entry.published_in) == (2, "empty", 1)
    assert ferry.run_stage(plan, "extract", "load") == 0
    assert [batch.rows for batch in ferry.published(name)] == [2]
    assert sorted(row["id"] for row in ferry.warehouse_rows(f"{target}.i", "id")) == [1, 2]
    [loaded] = [receipt for receipt in ferry.receipts(name, RUN) if receipt.stage == "load"]
    assert (loaded.generation, loaded.published, loaded.loaded) == (2, 2, 2)
