"""Each Spark stage through a bare `spark-submit`, as a runner submits it, with nothing but the plan's address."""

from __future__ import annotations

import json
import os
import subprocess

from jobs.launch.commands import local_command, local_environment
from jobs.runs.receipts import Stage
from tests.e2e.ferry import Ferry, OwnDatabase


def _submit(ferry: Ferry, stage: Stage, plan: str) -> list[dict[str, object]]:
    ran = subprocess.run(
        local_command(stage, plan, stage, ferry.settings),
        env={**os.environ, **ferry.environment, **local_environment(ferry.settings)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def test_stages_one_by_one(ferry: Ferry, aurora: OwnDatabase) -> None:
    target = f"{ferry.warehouse_dataset()}.t"
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6), KEY (updated_at))")
    aurora.insert("t", [(1, "2026-01-01"), (2, "2026-01-02")])
    name = ferry.spec(
        f"""\
        pipeline: s_{aurora.name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: s_{aurora.name}
            table: {aurora.name}.t
            primary_key: [id]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            bigquery: {{table: {target}}}
        """
    )
    plan = ferry.plan(name, "bare").uri
    read = _submit(ferry, "extract", plan)
    assert [event["read"] for event in read if event["event"] == "done"] == [2]
    assert ferry.published(name) == []
    _submit(ferry, "check", plan)
    assert [batch.rows for batch in ferry.published(name)] == [2]
    again = _submit(ferry, "extract", plan)
    assert [event for event in again if event["event"] == "done"] == []
    _submit(ferry, "load", plan)
    assert sorted(row["id"] for row in ferry.warehouse_rows(target, "id")) == [1, 2]


def test_a_plan_of_another_lake_is_refused(ferry: Ferry) -> None:
    ran = subprocess.run(
        local_command("extract", "s3://elsewhere/plans/x/1.json", "extract", ferry.settings),
        env={**os.environ, **ferry.environment, **local_environment(ferry.settings)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 64
    told = ran.stdout + ran.stderr
    assert "s3://elsewhere/plans/x/1.json is not in the lake" in told
    assert "Traceback" not in told
