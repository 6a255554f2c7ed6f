"""A run of a pipeline through Airflow itself (`dag.test()`), with doubles of planning and of the runner.

Airflow's own code decides which tasks run, carries XComs, and serializes the DAG and the trigger of a deferred task.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG

from jobs.runtime.project import CODE_ROOT as CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.dags.documents import World
    from tests.support.dags.plan_double import Planner
    from tests.support.dags.runner_double import Script

pytestmark = pytest.mark.services

STAGES = ("extract", "check", "load")
YAML = """\
pipeline: payments
source: {type: aurora, connection: aurora_payments}
datasets:
"""
DATASET = """\
  - name: {name}
    table: shop.{name}
    cursor: updated_at
    primary_key: [id]
    write_disposition: append
    bigquery: {{table: shop.{name}}}
"""


@pytest.fixture(scope="module")
def database() -> None:
    """Airflow's own database, in the home that `conftest` gave it.

    Airflow 3.2 builds its API again for each task of `DAG.test`, for seconds each; 3.3 builds it once, as here.
    """
    from airflow.sdk.execution_time import supervisor
    from airflow.utils.db import initdb

    supervisor.in_process_api_server = cache(supervisor.in_process_api_server)  # type: ignore[assignment]
    initdb()


@pytest.fixture
def dag(world: World, script: Script, planner: Planner, database: None, monkeypatch: pytest.MonkeyPatch) -> DAG:
    """The DAG of a pipeline with two datasets, read from its YAML by the file that Airflow parses."""
    from airflow.dag_processing.dagbag import DagBag

    world.settings.pipelines.mkdir()
    text = YAML + DATASET.format(name="payments") + DATASET.format(name="merchants")
    (world.settings.pipelines / "payments.yaml").write_text(text, encoding="utf-8")
    world.into(monkeypatch)
    monkeypatch.setenv("LAKEFERRY_TASK_RETRY_DELAY_SECONDS", "0")
    monkeypatch.setenv("LAKEFERRY_WATCH_SECONDS", "0.1")
    # Airflow 3.2 leaves it behind when a run of `DAG.test` ends.
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    bag = DagBag(dag_folder=str(CHECKOUT / "dags"))
    assert bag.import_errors == {}
    found: DAG = bag.dags["payments"]
    return found


@pytest.fixture
def run(dag: DAG, world: World, planner: Planner) -> Callable[[], tuple[str, dict[str, str]]]:
    """Run it; the state of the run, and those of its tasks."""

    def run() -> tuple[str, dict[str, str]]:
        def plans() -> str:
            world.run_id = planner.run_id
            return world.plan(payments="planned", merchants="planned")

        planner.plans = plans
        ended = dag.test()
        states = {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}
        return str(ended.state), states

    return run


@pytest.mark.parametrize("deferred", [False, True], ids=["waited for", "deferred"])
def test_a_run_from_plan_to_verdict(
    run: Callable[[], tuple[str, dict[str, str]]], world: World, script: Script, deferred: bool
) -> None:
    def work() -> None:
        for dataset in ("payments", "merchants"):
            world.leave(dataset, *STAGES, published=2, loaded=2)

    script.then(work, deferred=deferred)
    state, tasks = run()
    assert state == "success", tasks
    assert set(tasks.values()) == {"success"}
    assert len(script.submitted) == 1


def test_a_dataset_that_fails_is_red_beside_one_that_arrives(
    run: Callable[[], tuple[str, dict[str, str]]], world: World, script: Script
) -> None:
    def work() -> None:
        world.leave("payments", "extract")
        world.leave("payments", "check", verdict="failed", code=1)
        world.leave("merchants", *STAGES, published=2, loaded=2)

    # Load looks whether earlier runs left something to bring.
    script.then(work, code=65)
    script.then()
    state, tasks = run()
    assert state == "failed"
    assert tasks == {
        "plan": "success",
        "extract": "success",
        "check": "failed",
        "load": "success",
        "datasets.payments": "failed",
        "datasets.merchants": "success",
        "verdict": "failed",
    }
