"""The DAGs that come out of the pipelines of this repository."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, TriggerRule
from airflow.sdk.definitions.param import process_params

from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines
from lakeferry_airflow.factory import build_dag

PIPELINES = Path(__file__).resolve().parents[2] / "dags" / "pipelines"
DATASETS = {
    "payments": ["payments", "merchants"],
    "wallet": ["balance_entries"],
    "app_events": ["app_events"],
    "settlements": ["settlements"],
    "merchant_sales": ["daily_merchant_sales"],
}


def dags(**settings: object) -> dict[str, DAG]:
    specs, broken = load_pipelines(PIPELINES)
    assert broken == {}
    made = Settings.model_validate({"warehouse_project": "shop-project", "pipelines": PIPELINES, **settings})
    return {name: build_dag(spec, made) for name, spec in specs.items()}


@pytest.fixture(scope="module")
def five() -> dict[str, DAG]:
    return dags()


def test_there_is_one_dag_a_pipeline(five: dict[str, DAG]) -> None:
    assert sorted(five) == sorted(DATASETS)


@pytest.mark.parametrize("pipeline", DATASETS)
def test_each_stage_is_its_own_task_in_order(five: dict[str, DAG], pipeline: str) -> None:
    dag = five[pipeline]
    first = "transform" if pipeline == "merchant_sales" else "extract"
    datasets = {f"datasets.{dataset}" for dataset in DATASETS[pipeline]}
    assert set(dag.task_ids) == {"plan", first, "check", "load", "verdict"} | datasets
    follows = {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}
    assert follows == {
        "plan": {first} | datasets,
        first: {"check"},
        "check": {"load"},
        "load": datasets | {"verdict"},
        **{dataset: {"verdict"} for dataset in datasets},
        "verdict": set(),
    }


@pytest.mark.parametrize("pipeline", DATASETS)
def test_only_plan_needs_the_task_before_it(five: dict[str, DAG], pipeline: str) -> None:
    rules = {task.task_id: task.trigger_rule for task in five[pipeline].tasks}
    assert rules.pop("plan") == TriggerRule.ALL_SUCCESS
    # Behind plan and load, so they start when plan has ended and are cleared with any stage.
    assert {rules.pop(f"datasets.{dataset}") for dataset in DATASETS[pipeline]} == {TriggerRule.ONE_DONE}
    assert set(rules.values()) == {TriggerRule.ALL_DONE}


def test_runs_do_not_overlap_catch_up_or_start_unasked(five: dict[str, DAG]) -> None:
    for dag in five.values():
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        assert dag.is_paused_upon_creation is True
    assert all(dag.is_paused_upon_creation is False for dag in dags(dags_paused=False).values())


def test_a_cron_schedule_gives_backfills_an_interval(five: dict[str, DAG]) -> None:
    assert isinstance(five["payments"].timetable, CronDataIntervalTimetable)
    # Airflow 3.2 keeps a preset as it is written.
    assert five["payments"].timetable.expression in ("0 * * * *", "@hourly")


def test_schedules_can_be_switched_off(five: dict[str, DAG]) -> None:
    assert dags(schedules=False)["payments"].schedule is None
    assert dags(schedules=False)["merchant_sales"].schedule == five["merchant_sales"].schedule


def test_a_derived_pipeline_follows_either_of_its_inputs(five: dict[str, DAG]) -> None:
    condition = five["merchant_sales"].timetable.asset_condition
    assert type(condition).__name__ == "AssetAny"
    assert {asset.uri for asset in condition.objects} == {"x-lakeferry://lake/payments", "x-lakeferry://lake/merchants"}


def test_each_dataset_has_an_outlet_for_lake_and_warehouse(five: dict[str, DAG]) -> None:
    outlets = five["payments"].get_task("datasets.merchants").outlets
    assert {outlet.uri for outlet in outlets if isinstance(outlet, Asset)} == {
        "x-lakeferry://lake/merchants",
        "bigquery://shop-project/shop/merchants",
    }


def test_retries_wait_longer_each_time() -> None:
    task = dags(task_retries=2, task_retry_delay_seconds=7)["wallet"].get_task("extract")
    assert task.retries == 2
    assert task.retry_delay == timedelta(seconds=7)
    assert task.retry_exponential_backoff


def test_the_form_offers_window_and_datasets(five: dict[str, DAG]) -> None:
    params = five["payments"].params
    assert params.dump() == {"start": None, "end": None, "datasets": None}
    assert params.get_param("start").schema["examples"] == ["2026-01-31T00:00:00Z", "2026-01-31", 1000]
    assert params.get_param("datasets").schema["examples"] == ["payments", "merchants"]


def test_a_conf_from_before_a_dataset_was_removed_reaches_the_plan(five: dict[str, DAG]) -> None:
    """Airflow validates the conf of a run in each of its tasks: what it refused would fail before our message."""
    conf = {"datasets": ["payments", "gone"]}
    given = process_params(five["payments"], five["payments"].get_task("plan"), conf, suppress_exception=False)
    assert given["datasets"] == ["payments", "gone"]


def test_the_documentation_lists_the_datasets(five: dict[str, DAG]) -> None:
    text = five["payments"].doc_md
    assert text is not None
    assert "| payments | shop.payments | merge | shop.payments | One row a payment, as it stands now |" in text
    assert "connection `aurora_payments`" in text
    assert "Status page: " in text
    assert "/page/index.html" in text
    assert five["payments"].tags == {"lakeferry", "aurora"}


def test_the_form_belongs_to_the_dag_alone_and_a_run_finds_it_there(five: dict[str, DAG]) -> None:
    for dag in five.values():
        assert set(dag.params.validate()) >= {"datasets"}
        for task in dag.tasks:
            assert not task.params, "each copy would be validated and stored with the task"
    conf = {"datasets": ["merchants"]}
    payments = five["payments"]
    for task in payments.tasks:
        assert process_params(payments, task, conf, suppress_exception=False) == {
            **payments.params.dump(),
            "datasets": ["merchants"],
        }


def test_the_documentation_shows_the_yaml(five: dict[str, DAG]) -> None:
    yaml = (PIPELINES / "payments.yaml").read_text()
    text = five["payments"].doc_md
    assert text is not None
    assert text.endswith(f"`payments.yaml`\n\n```yaml\n{yaml.rstrip()}\n```")


def test_a_fence_in_the_yaml_does_not_end_the_block(tmp_path: Path) -> None:
    text = (PIPELINES / "wallet.yaml").read_text() + "# ````\n"
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    (tmp_path / "pipelines" / "wallet.yaml").write_text(text + "# x\n" * 20_000)
    specs, _ = load_pipelines(tmp_path / "pipelines")
    dag = build_dag(specs["wallet"], Settings(pipelines=tmp_path / "pipelines"))
    assert dag.doc_md is not None
    assert "`wallet.yaml`, the first 50,000 characters\n\n`````yaml\npipeline: wallet" in dag.doc_md
    assert dag.doc_md.endswith("\n`````")
    assert len(dag.doc_md) < 52_000
