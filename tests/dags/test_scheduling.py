"""When Airflow begins runs of a pipeline, and what the form of a trigger offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import DAG

from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines, read_spec
from lakeferry_airflow.factory import build_dag

PIPELINES = Path(__file__).resolve().parents[2] / "dags" / "pipelines"
SETTINGS = Settings(warehouse_project="shop-project")


def _sales(folder: Path, schedule: str) -> DAG:
    text = (PIPELINES / "merchant_sales.yaml").read_text()
    path = folder / "merchant_sales.yaml"
    path.write_text(text.replace("{after: [payments, merchants]}", schedule).partition("views:")[0])
    return build_dag(read_spec(path), SETTINGS)


@pytest.mark.parametrize(("key", "kind"), [("after", "AssetAny"), ("after_all", "AssetAll")])
def test_any_or_all_datasets_are_waited_for(tmp_path: Path, key: str, kind: str) -> None:
    dag = _sales(tmp_path, f"{{{key}: [payments, merchants]}}")
    condition = dag.timetable.asset_condition
    assert type(condition).__name__ == kind
    assert {asset.uri for asset in condition.objects} == {"x-lakeferry://lake/payments", "x-lakeferry://lake/merchants"}


def test_a_cron_beside_the_datasets_begins_runs_too(tmp_path: Path) -> None:
    schedule = '{after: [payments], cron: "0 3 * * *"}'
    timetable = _sales(tmp_path, schedule).timetable
    assert type(timetable).__name__ == "AssetOrTimeSchedule"
    assert timetable.timetable.expression == "0 3 * * *"
    assert "Runs after payments, and by 0 3 * * *." in (_sales(tmp_path, schedule).doc_md or "")


def test_who_follows_others_is_warned_of_a_pause(tmp_path: Path) -> None:
    text = _sales(tmp_path, "{after: [payments]}").doc_md or ""
    assert "What is published while this DAG is paused starts no run" in text


def test_the_form_offers_a_window_only_where_one_can_be_read(tmp_path: Path) -> None:
    specs, _ = load_pipelines(PIPELINES)
    offered = {name: set(build_dag(spec, SETTINGS).params) for name, spec in specs.items()}
    assert offered.pop("merchant_sales") == {"datasets"}
    assert all(fields == {"start", "end", "datasets"} for fields in offered.values())
    path = tmp_path / "whole.yaml"
    path.write_text(
        "pipeline: whole\nsource: {type: aurora, connection: c}\ndatasets:\n"
        "  - {name: d, table: a.b, write_disposition: replace, bigquery: {table: x.y}}\n"
    )
    assert set(build_dag(read_spec(path), SETTINGS).params) == {"datasets"}


def test_work_that_has_begun_goes_before_work_that_has_not() -> None:
    specs, _ = load_pipelines(PIPELINES)
    dag = build_dag(specs["payments"], SETTINGS)
    # The tasks of datasets only watch.
    works = [task_id for task_id in dag.task_ids if not task_id.startswith("datasets.")]
    weights = {task_id: dag.get_task(task_id).weight_rule for task_id in works}
    assert {str(getattr(rule, "value", rule)) for rule in weights.values()} == {"upstream"}
