"""One run id that is asked for again: for another window, for its window once more, and as a retry."""

from __future__ import annotations

from connectors.base import Window
from jobs.planning import make_plan
from jobs.run_request import Invocation
from jobs.spec_reader import load_pipeline
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
