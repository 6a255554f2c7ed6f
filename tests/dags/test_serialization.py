"""What Airflow's scheduler and API server know of a DAG: its JSON, which holds all that was said and does not change.

Airflow makes a new version of a DAG wherever the hash of its JSON differs from the stored one
(`SerializedDagModel.write_dag`), so two parses of the same YAML must have the same hash.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk.bases.operator import BaseOperator
from airflow.serialization.encoders import encode_timetable
from airflow.serialization.serialized_objects import DagSerialization

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from tests.support.dags.every_dag import SMTP, every_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG

OF_DAG = (
    "dag_id",
    "description",
    "doc_md",
    "tags",
    "owner",
    "catchup",
    "max_active_runs",
    "max_active_tasks",
    "max_consecutive_failed_dag_runs",
    "dagrun_timeout",
    "start_date",
    "is_paused_upon_creation",
    "access_control",
    "has_on_failure_callback",
    "has_on_success_callback",
)
OF_TASK = (
    "task_id",
    "doc_md",
    "owner",
    "pool",
    "queue",
    "priority_weight",
    "executor_config",
    "execution_timeout",
    "retries",
    "retry_delay",
    "retry_exponential_backoff",
    "max_retry_delay",
    "trigger_rule",
    "template_fields",
    "upstream_task_ids",
    "downstream_task_ids",
    "is_mapped",
)
HASHES = """
import json, sys
from pathlib import Path
from tests.dags.test_serialization import hashes
from tests.support.dags.every_dag import every_dag
print(json.dumps(hashes(every_dag(Path(sys.argv[1])))))
"""


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DAG]:
    return every_dag(tmp_path_factory.mktemp("serialization") / "pipelines")


def test_the_json_of_a_dag_holds_all_that_was_said(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        back: Any = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert {name: getattr(back, name) for name in OF_DAG} == {name: getattr(dag, name) for name in OF_DAG}
        assert _timetable(back) == _timetable(dag)
        assert _fields(back.params) == _fields(dag.params)
        assert _group(back.task_group) == _group(dag.task_group)
        assert [task.task_id for task in back.tasks] == [task.task_id for task in dag.tasks]
        for task in dag.tasks:
            assert _task(back.get_task(task.task_id)) == _task(task), f"{dag.dag_id}.{task.task_id}"


def test_the_json_holds_each_option_of_the_yaml(dags: dict[str, DAG]) -> None:
    document: Any = json.loads(json.dumps(DagSerialization.to_dict(dags["derived"])))["dag"]
    assert document["has_on_failure_callback"] is document["has_on_success_callback"] is True
    assert document["tags"] == ["alpha", "derived", "lakeferry", "ledger", "tier 1", "zeta"]
    assert (document["dagrun_timeout"], document["max_consecutive_failed_dag_runs"]) == (9 * 3600, 3)
    [deadline] = document["deadline"]
    assert {"7200.0", SMTP} <= set(_values(deadline))
    schedule = _values(document["timetable"])
    assert {"0 3 * * *", "Asia/Tokyo", "x-lakeferry://lake/aurora_00", "x-lakeferry://lake/tidb_00"} <= set(schedule)
    tasks = {task["__var"]["task_id"]: task["__var"] for task in document["tasks"]}
    limits = {task_id: task["execution_timeout"] for task_id, task in tasks.items()}
    assert limits == {
        "plan": 1800,
        **dict.fromkeys(("transform", "check", "load"), 4 * 3600),
        **dict.fromkeys(("datasets.derived_00", "datasets.derived_01", "datasets.derived_02", "verdict"), 9 * 3600),
    }
    assert {(task["owner"], task["pool"], task["queue"]) for task in tasks.values()} == {("money", "aurora", "spark")}
    assert set(tasks["transform"]["_operator_extra_links"]) == {"Status page", "Receipts", "EMR job"}
    assert not any(task.get("_is_mapped") for task in tasks.values())


@pytest.mark.services
def test_two_parses_are_one_version(dags: dict[str, DAG], tmp_path: Path) -> None:
    again = every_dag(tmp_path / "pipelines")
    assert hashes(again) == hashes(dags)
    # A process of its own, whose sets have another order.
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    paths = {"PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "dags"))), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", HASHES, str(tmp_path / "elsewhere")]
    done = subprocess.run(command, env=os.environ | paths, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == hashes(dags)


def hashes(dags: dict[str, DAG]) -> dict[str, str]:
    """What Airflow compares, by DAG id. It sorts what it knows to be without order."""
    return {dag_id: SerializedDagModel.hash(DagSerialization.to_dict(dag)) for dag_id, dag in dags.items()}


def _timetable(dag: Any) -> str:
    # Airflow 3.2 writes a preset out when it reads it.
    return json.dumps(encode_timetable(dag.timetable)).replace("@hourly", "0 * * * *")


def _values(document: Any) -> list[str]:
    """The leaves of a JSON document."""
    if isinstance(document, dict | list):
        entries = document.values() if isinstance(document, dict) else document
        return [leaf for entry in entries for leaf in _values(entry)]
    return [str(document)]


def _fields(params: Any) -> dict[str, Any]:
    return {
        name: (param.value, param.description, param.schema)
        for name, param in ((name, params.get_param(name)) for name in params)
    }


def _group(group: Any) -> dict[str, Any]:
    return {
        "id": group.group_id,
        "tooltip": group.tooltip,
        "children": {
            name: _group(child) if hasattr(child, "children") else None for name, child in group.children.items()
        },
        "edges": [sorted(ids) for ids in (group.upstream_task_ids, group.downstream_task_ids)],
    }


def _task(task: Any) -> dict[str, Any]:
    of_sdk = isinstance(task, BaseOperator)
    rule = task.weight_rule
    return {
        **{name: getattr(task, name) for name in OF_TASK},
        "type": type(task).__name__ if of_sdk else task.task_type,
        "template_fields": list(task.template_fields),
        "templates": {name: getattr(task, name) for name in task.template_fields},
        "links": [(link.name, link.xcom_key) for link in task.operator_extra_links],
        "outlets": [(outlet.name, getattr(outlet, "uri", None), outlet.group) for outlet in task.outlets],
        "weight_rule": str(getattr(rule, "value", rule)) if of_sdk else _rule(rule),
    }


def _rule(strategy: Any) -> str:
    """`_UpstreamPriorityWeightStrategy` of the scheduler is the rule `upstream`."""
    return type(strategy).__name__.removeprefix("_").removesuffix("PriorityWeightStrategy").lower()
