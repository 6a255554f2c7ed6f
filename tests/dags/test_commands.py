"""Commands of Airflow that parse the whole folder for one DAG, such as `airflow dags test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.launch.dag_files import write_dag_files
from lakeferry_airflow.registration import dags_to_register

FILES = ("lakeferry.py", "lakeferry_access_control.py")
PIPELINE = """pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - {{name: {name}, table: shop.{name}, primary_key: [id], write_disposition: append, cursor: id,
     bigquery: {{table: shop.{name}}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAKEFERRY_PIPELINES", raising=False)
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "state"))
    pipelines = tmp_path / "dags" / "pipelines"
    pipelines.mkdir(parents=True)
    (pipelines / "plain.yaml").write_text(PIPELINE.format(name="plain"))
    roles = "airflow: {access_control: {Viewer: [can_read]}}\n"
    (pipelines / "roles.yaml").write_text(PIPELINE.format(name="roles") + roles)
    for name in FILES:
        (tmp_path / "dags" / name).write_text("# of Airflow, for a DAG")
    return tmp_path / "dags"


def registering(folder: Path, dag_id: str, task_id: str | None) -> list[str]:
    """The files that register the DAG where Airflow asks for it by its id."""
    # Airflow's own context manager does not unset what was not set before.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
        environment.delenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", raising=False)
        if task_id is not None:
            environment.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", task_id)
        return [name for name in FILES if dag_id in dags_to_register(str(folder / name))]


def test_a_command_finds_each_dag_in_one_file(folder: Path) -> None:
    assert registering(folder, "plain", None) == ["lakeferry.py"]
    assert registering(folder, "roles", None) == ["lakeferry_access_control.py"]
    assert registering(folder, "gone", None) == []


def test_a_command_finds_no_dag_here_that_has_a_file_of_its_own(folder: Path) -> None:
    write_dag_files(folder / "pipelines", folder / "generated")
    assert registering(folder, "plain", None) == []
    assert registering(folder, "roles", None) == []


def test_a_task_finds_its_dag_in_the_file_that_its_run_began_with(folder: Path) -> None:
    assert registering(folder, "plain", "extract") == list(FILES)
    assert registering(folder, "roles", "extract") == list(FILES)
