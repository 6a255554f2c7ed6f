"""A source never sees more connections than its connection allows, for any parts that run side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from connectors.connection import find_connection
from connectors.mysql import AuroraSource
from connectors.mysql.sessions.connection_budget import budget_of
from jobs.runs.plan_document import Plan
from jobs.stages.extract import slice_copy as copying
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.support.counting_proxy import CountingProxy

DATASETS = ("one", "two", "three")


@pytest.fixture
def proxy() -> Iterator[CountingProxy]:
    found = find_connection("aurora_payments")
    made = CountingProxy(found.host or "", found.port or 3306)
    yield made
    made.close()


@dataclass
class Narrow:
    """Three tables of 1,000 rows behind the proxy, and their pipeline over so few connections."""

    ferry: Ferry
    database: OwnDatabase
    most: int
    more: str = ""

    def plan(self, proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch) -> Plan:
        found, name = find_connection("aurora_payments"), self.database.name
        address = f"mysql://{found.login}:{found.password}@127.0.0.1:{proxy.port}/?max_connections={self.most}"
        monkeypatch.setenv(f"AIRFLOW_CONN_NARROW_{name.upper()}", address)
        target, entries = self.ferry.warehouse_dataset(), ""
        for table in DATASETS:
            self.database.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY)")
            self.database.execute(f"INSERT INTO {table} SELECT seq FROM seq_1_to_1000")
            entries += f"""
          - name: {table}_{name}
            table: {name}.{table}
            primary_key: [id]
            write_disposition: replace{self.more}
            bigquery: {{table: {target}.{table}}}"""
        pipeline = self.ferry.spec(f"""
        pipeline: narrow_{name}
        source: {{type: aurora, connection: narrow_{name}}}
        datasets:{entries}
        """)
        return self.ferry.plan(pipeline, "run-1")


def in_parallel(ferry: Ferry) -> Ferry:
    more = {"rows_per_slice": 100, "datasets_in_parallel": 3, "slices_per_commit": 5}
    return replace(ferry, settings=ferry.settings.model_copy(update=more))


@pytest.mark.parametrize("most", [1, 2])
def test_datasets_of_many_slices_share_the_connections(
    ferry: Ferry, aurora: OwnDatabase, proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    narrow = Narrow(in_parallel(ferry), aurora, most)
    plan = narrow.plan(proxy, monkeypatch)
    assert all(dataset.source and len(dataset.source.slices) == 10 for dataset in plan.datasets)
    assert narrow.ferry.run_stage(plan, "extract", "check") == 0
    for name in DATASETS:
        rows = ferry.lake_rows("raw", f"{name}_{aurora.name}")
        assert sorted(row["id"] for row in rows) == list(range(1, 1001))
    assert proxy.connections > 3 * 10
    assert proxy.most == most


def test_looking_for_what_differs_shares_them_too(
    ferry: Ferry, aurora: OwnDatabase, proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Narrow(in_parallel(ferry), aurora, 1, "\n            reads: 1")
    plan = narrow.plan(proxy, monkeypatch)
    raised = copying._raised
    monkeypatch.setattr(copying, "_raised", lambda outcome: replace(raised(outcome), altered_rows=1))
    read, held = AuroraSource.read, []

    def watched(source: AuroraSource, *asked: Any) -> Any:
        # Two such short reads seldom meet: each reader must only hold a permit.
        held.append(getattr(budget_of(source.connection)._own, "permits", 0))
        return read(source, *asked)

    monkeypatch.setattr(AuroraSource, "read", watched)
    assert narrow.ferry.run_stage(plan, "extract", "check") == 1
    for name in DATASETS:
        assert ferry.published(f"{name}_{aurora.name}") == []
    assert set(held) == {1}
    assert proxy.most == 1
