"""The plan is the whole contract: stages prove and create what was planned, even if the files have changed since."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256

from tests.e2e.ferry import Ferry, OwnDatabase

RULES = "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0}\n"


def test_stages_read_neither_rules_nor_views_from_files(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, amount DECIMAL(18,2))")
    aurora.insert("t", [(1, "10.50"), (2, "-20.00"), (3, "30.25")])
    name, shop = f"frozen_{aurora.name}", ferry.warehouse_dataset()
    ferry.suite(name, RULES)
    pipelines = ferry.folder / "pipelines"
    (pipelines / f"{name}.sql").write_text(f"SELECT SUM(amount) AS total FROM {shop}.t")
    (pipelines / f"{name}_broken.sql").write_text("DELETE FROM nothing.there")
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.t
            primary_key: [id]
            write_disposition: replace
            expectations: {name}
            bigquery: {{table: {shop}.t}}
        views:
          - {{name: {shop}.total, sql: {name}.sql}}
          - {{name: {shop}.broken, sql: {name}_broken.sql}}
        """
    )
    shown = ferry.cli("plan", name)
    assert shown.returncode == 0
    assert (
        f"{name}.yaml: 1 of rows, 0 of the dataset (SHA-256 {sha256(RULES.encode()).hexdigest()[:12]})" in shown.stdout
    )
    assert "columns" in shown.stdout
    assert "guaranteed by the source" in shown.stdout
    assert f"{shop}.total" in shown.stdout
    assert "a view is one SELECT, this is DELETE" in shown.stdout

    plan = ferry.plan(name, "run")
    # The rule that replaces it would refuse the good rows, and the view would have another column.
    ferry.suite(name, "rows:\n  - expect_column_values_to_be_between: {column: amount, max_value: 0}\n")
    (pipelines / f"{name}.sql").write_text(f"SELECT COUNT(*) AS other FROM {shop}.t")
    (pipelines / f"{name}.yaml").unlink()
    code = ferry.run_stage(plan, "extract", "load")
    assert code == 2, "the broken view fails, and nothing else does"
    [batch] = ferry.published(name)
    assert (batch.rows, batch.quarantined) == (2, 1)
    [bad] = ferry.lake_rows("quarantine", name)
    assert json.loads(bad["record"])["id"] == 2
    assert bad["reason"] == "amount must be at least 0"
    assert [row["total"] for row in ferry.warehouse_rows(f"{shop}.total")] == [Decimal("40.75")]
    views = {receipt.dataset: receipt for receipt in ferry.receipts(name, "run") if receipt.stage == "view"}
    assert {view: receipt.verdict for view, receipt in views.items()} == {
        f"{shop}.total": "done",
        f"{shop}.broken": "failed",
    }
    assert "a view is one SELECT, this is DELETE" in str(views[f"{shop}.broken"].error)
