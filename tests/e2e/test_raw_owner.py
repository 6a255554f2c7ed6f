"""A dataset that turns up in another pipeline: refused by name, and continued where it was moved on purpose."""

from __future__ import annotations

from connectors.base import Window
from tests.e2e.ferry import Ferry, OwnDatabase


def test_a_dataset_goes_on_in_another_pipeline_only_where_that_takes_it_over(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, database, target = f"o_{aurora.name}", aurora.name, ferry.warehouse_dataset()
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, KEY (updated_at))")
    aurora.insert("t", [(1, "2026-05-01"), (2, "2026-05-02")])
    text = (
        "pipeline: {name}\n{keys}source: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        f"  - {{{{name: d_{database}, table: {database}.t, primary_key: [id], cursor: updated_at, lag_seconds: 1, "
        f"write_disposition: merge, bigquery: {{{{table: {target}.d}}}}}}}}\n"
    )
    ferry.spec(text.format(name=name, keys=""))
    # A window first: such a batch says whose the table is, too.
    assert ferry.run(name, window=Window(start="2026-05-01T00:00:00Z", end="2026-05-02T00:00:00Z")).code == 0
    assert ferry.published(f"d_{database}")[-1].pipeline == name

    # While both files are there, neither runs; then the new one is alone.
    ferry.spec(text.format(name=f"new_{name}", keys=""))
    for pipeline in (name, f"new_{name}"):
        assert "Each of these files is refused" in ferry.cli("plan", pipeline).stderr
    (ferry.folder / "pipelines" / f"{name}.yaml").unlink()
    planned = ferry.cli("plan", f"new_{name}")
    assert planned.returncode == 2
    assert (
        f"new_{name}.yaml:4 pipeline new_{name} dataset d_{database}: raw.d_{database} belongs to pipeline {name}"
        in (planned.stderr)
    )
    assert f"takes_over: [{name}] to new_{name}.yaml" in planned.stderr

    ferry.spec(text.format(name=f"new_{name}", keys=f"takes_over: [{name}]\n"))
    taken = ferry.run(f"new_{name}")
    assert taken.code == 0
    assert ferry.published(f"d_{database}")[-1].pipeline == f"new_{name}"
    assert sorted(row["id"] for row in ferry.warehouse_rows(f"{target}.d", "id")) == [1, 2]
