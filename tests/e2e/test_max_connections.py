"""A source never sees more connections than its connection allows, whatever runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from connectors.connection import find_connection
from tests.counting_proxy import CountingProxy
from tests.e2e.ferry import Ferry, OwnDatabase

DATASETS = ("one", "two", "three")


@pytest.fixture
def proxy() -> Iterator[CountingProxy]:
    found = find_connection("aurora_payments")
    made = CountingProxy(found.host or "", found.port or 3306)
    yield made
    made.close()


@pytest.mark.parametrize("most", [1, 2])
def test_datasets_of_many_slices_share_the_connections(
    ferry: Ferry, aurora: OwnDatabase, proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    found = find_connection("aurora_payments")
    address = f"mysql://{found.login}:{found.password}@127.0.0.1:{proxy.port}/?max_connections={most}"
    monkeypatch.setenv(f"AIRFLOW_CONN_NARROW_{aurora.name.upper()}", address)
    settings = ferry.settings.model_copy(
        update={"rows_per_slice": 100, "datasets_in_parallel": 3, "slices_per_commit": 5}
    )
    narrow = replace(ferry, settings=settings)
    target = ferry.warehouse_dataset()
    entries = ""
    for name in DATASETS:
        aurora.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY)")
        aurora.execute(f"INSERT INTO {name} SELECT seq FROM seq_1_to_1000")
        entries += f"""
          - name: {name}_{aurora.name}
            table: {aurora.name}.{name}
            primary_key: [id]
            write_disposition: replace
            bigquery: {{table: {target}.{name}}}"""
    pipeline = ferry.spec(f"""
        pipeline: narrow_{aurora.name}
        source: {{type: aurora, connection: narrow_{aurora.name}}}
        datasets:{entries}
        """)
    plan = narrow.plan(pipeline, "run-1")
    assert all(dataset.source and len(dataset.source.slices) == 10 for dataset in plan.datasets)
    assert narrow.run_stage(plan, "extract", "check") == 0
    for name in DATASETS:
        rows = ferry.lake_rows("raw", f"{name}_{aurora.name}")
        assert sorted(row["id"] for row in rows) == list(range(1, 1001))
    assert proxy.connections > 3 * 10
    assert proxy.most == most
