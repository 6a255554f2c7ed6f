"""The local runner with a SQLite catalog needs one machine, and says so before anything is planned."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from connectors.errors import SettingError
from jobs.runs.time_limits import TimeLimit
from jobs.runtime.settings import Settings
from lakeferry_airflow import stages
from lakeferry_airflow.one_machine import require_one_machine

LOCAL = Settings(runner="local", catalog="sqlite:////lake/catalog.db")
CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"


@pytest.mark.parametrize(
    ("configured", "task", "refused"),
    [
        ("CeleryExecutor", None, "CeleryExecutor"),
        ("KubernetesExecutor", None, "KubernetesExecutor"),
        (CELERY, None, "CeleryExecutor"),
        ("astronomer.runtime.executors.AstroExecutor", None, "AstroExecutor"),
        (f"LocalExecutor,far:{CELERY}", "far", "CeleryExecutor"),
        ("LocalExecutor,KubernetesExecutor", "KubernetesExecutor", "KubernetesExecutor"),
        ("KubernetesExecutor,LocalExecutor", None, "KubernetesExecutor"),
    ],
)
def test_tasks_on_several_machines_are_refused(configured: str, task: str | None, refused: str) -> None:
    with pytest.raises(SettingError, match=f"needs one machine: {refused}") as caught:
        require_one_machine(LOCAL, task, configured)
    assert re.search(
        r"LocalExecutor, or use a catalog .*LAKEFERRY_CATALOG=glue.*LAKEFERRY_RUNNER=emr", str(caught.value)
    )


def test_a_pod_is_a_machine_of_its_own_whatever_its_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(SettingError, match="needs one machine: KubernetesExecutor"):
        require_one_machine(LOCAL, None, "LocalExecutor")


@pytest.mark.parametrize(
    ("settings", "configured", "task"),
    [
        (LOCAL, "LocalExecutor", None),
        (LOCAL, "SequentialExecutor", None),
        (LOCAL, "LocalExecutor,CeleryExecutor", None),
        (LOCAL, f"LocalExecutor,far:{CELERY}", "LocalExecutor"),
        (LOCAL, "mycompany.executors.OwnExecutor", None),
        (LOCAL.model_copy(update={"catalog": "glue"}), "CeleryExecutor", None),
        (LOCAL.model_copy(update={"runner": "emr_serverless"}), "CeleryExecutor", None),
    ],
)
def test_what_works_is_let_be(settings: Settings, configured: str, task: str | None) -> None:
    require_one_machine(settings, task, configured)


def test_plan_is_the_task_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setattr(stages, "load_settings", lambda: LOCAL)
    limit = TimeLimit(3600, "LAKEFERRY_PLAN_TIMEOUT_MINUTES")
    plan = stages.PlanStage(task_id="plan", pipeline="p", datasets=["d"], connections=[], limit=limit)
    context: Any = {"run_id": "r", "ti": SimpleNamespace(), "params": {}, "dag_run": SimpleNamespace()}
    with pytest.raises(AirflowFailException, match="needs one machine"):
        plan.execute(context)
