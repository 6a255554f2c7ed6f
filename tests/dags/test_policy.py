"""Rules for every DAG and every task. Airflow's own settings, which hold if a DAG says nothing, do not change them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from tests.support.dags.every_dag import every_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG

# Other values than Airflow's own defaults, so that a DAG that states nothing is seen.
UNLIKE_OURS = {
    "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "16",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__SCHEDULER__CATCHUP_BY_DEFAULT": "True",
}
AIRFLOWS_OWNER = "airflow"
"""The default of `[operators] default_owner`."""


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DAG]]:
    folder = tmp_path_factory.mktemp("policy")
    with pytest.MonkeyPatch.context() as environment:
        for key, value in UNLIKE_OURS.items():
            environment.setenv(key, value)
        found = every_dag(folder / "with")
        for variant in ({"triggerer": False}, {"runner": "emr_serverless", "schedules": False}):
            named = every_dag(folder / "-".join(variant), **variant)
            found |= {f"{dag_id} {variant}": dag for dag_id, dag in named.items()}
        yield found


def test_every_dag_says_whose_it_is_what_it_does_and_how_often_it_runs_at_once(dags: dict[str, DAG]) -> None:
    assert len(dags) == 3 * (5 + 2 * 5 + 1), "the demo's, two for each kind, the page's"
    faults = []
    for name, dag in dags.items():
        faults += [f"{name}: {fault}" for fault, there in _faults_of_dag(dag).items() if there]
    assert faults == []


def test_every_task_has_an_owner_a_limit_a_pool_and_a_note(dags: dict[str, DAG]) -> None:
    faults = []
    for name, dag in dags.items():
        for task in dag.tasks:
            faults += [f"{name}.{task.task_id}: {fault}" for fault, there in _faults_of_task(task).items() if there]
    assert faults == []


def test_no_task_waits_in_the_triggerer_without_a_limit() -> None:
    """`execution_timeout` does not count there: a deferral has a limit of its own, or none.

    The tasks of datasets defer for the limit of the run (`test_dataset_tasks.py`), those of stages that run on EMR for
    that of the stage and a little more (`test_ends.py`).
    """
    deferrals = {
        f"{path.name}:{node.lineno}": {keyword.arg for keyword in node.keywords}
        for path in (CHECKOUT / "dags").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "defer"
    }
    assert {place.partition(":")[0] for place in deferrals} == {"dataset_tasks.py", "stages.py"}
    assert [place for place, arguments in deferrals.items() if "timeout" not in arguments] == []


def _faults_of_dag(dag: DAG) -> dict[str, bool]:
    return {
        "has no tag lakeferry": "lakeferry" not in dag.tags,
        "has no documentation": not (dag.doc_md or "").strip(),
        "has no description": not dag.description,
        f"has the owner {dag.owner}": AIRFLOWS_OWNER in dag.owner.split(", ") or not dag.owner,
        f"runs {dag.max_active_runs} times at once": dag.max_active_runs != 1,
        "catches up": dag.catchup is not False,
        "has no limit for a run": dag.dagrun_timeout is None,
        "does not say whether it begins paused": dag.is_paused_upon_creation is None,
    }


def _faults_of_task(task: Any) -> dict[str, bool]:
    return {
        f"has the owner {task.owner}": task.owner in (AIRFLOWS_OWNER, ""),
        "has no execution_timeout": task.execution_timeout is None,
        "has no pool": not task.pool,
        "has no note": not (task.doc_md or "").strip(),
    }
