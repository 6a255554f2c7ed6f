"""A primary key that is hashed: rows are merged by the hash, and no two keys become one."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.e2e.ferry import Ferry, OwnDatabase

KEY = "0123456789abcdef0123456789abcdef"


def test_rows_are_merged_by_the_hash(ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", f"generic://:{KEY}@")
    target = f"{ferry.warehouse_dataset()}.t"
    aurora.execute(
        "CREATE TABLE t (code VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, n INT, updated_at DATETIME(6),"
        " KEY (updated_at))"
    )
    aurora.insert("t", [("aB3", 1, "2026-01-01"), ("Ab3", 2, "2026-01-01")])
    name = ferry.spec(
        f"""\
        pipeline: k_{aurora.name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: k_{aurora.name}
            table: {aurora.name}.t
            primary_key: [code]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            mask: {{code: hmac}}
            bigquery: {{table: {target}}}
        """
    )
    assert ferry.run(name).code == 0
    aurora.execute("UPDATE t SET n = 3, updated_at = UTC_TIMESTAMP(6) WHERE code = 'aB3'")
    aurora.settle()
    assert ferry.run(name).code == 0

    def hashed(code: str) -> str:
        return hmac.new(KEY.encode(), code.encode(), hashlib.sha256).hexdigest()

    arrived = {row["code"]: row["n"] for row in ferry.warehouse_rows(target, "code, n")}
    assert arrived == {hashed("aB3"): 3, hashed("Ab3"): 2}
    assert {row["code"]: row["n"] for row in ferry.lake_rows("curated", name)} == arrived

    # Another key would give one value two hashes.
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", f"generic://:{KEY[::-1]}@")
    aurora.execute("UPDATE t SET n = 4, updated_at = UTC_TIMESTAMP(6) WHERE code = 'aB3'")
    aurora.settle()
    refused = ferry.run(name)
    assert refused.code == 2
    [failure] = refused.plan.failures.values()
    assert "the key of mask: hmac differs from" in failure.error
    assert KEY not in failure.error
    assert {row["code"]: row["n"] for row in ferry.lake_rows("curated", name)} == arrived


def test_a_key_that_changes_after_the_plan_is_seen(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", f"generic://:{KEY}@")
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, phone VARCHAR(20))")
    aurora.insert("t", [(1, "090-1234-5678")])
    name = ferry.spec(
        f"""\
        pipeline: m_{aurora.name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: m_{aurora.name}
            table: {aurora.name}.t
            primary_key: [id]
            write_disposition: merge
            mask: {{phone: hmac}}
            bigquery: {{table: {ferry.warehouse_dataset()}.t}}
        """
    )
    plan = ferry.plan(name, "one")
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", f"generic://:{KEY[::-1]}@")
    assert ferry.run_stage(plan, "extract", "load") == 3
    [extract] = [receipt for receipt in ferry.receipts(name, "one") if receipt.stage == "extract"]
    assert "the key of mask: hmac differs from the one that this run was planned with" in str(extract.error)
    assert ferry.run(name, "one").code == 0
