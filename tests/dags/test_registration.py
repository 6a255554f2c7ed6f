"""`lakeferry.py` never has an import error: what Airflow refuses of one pipeline leaves the others alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

CHECKOUT = Path(__file__).resolve().parents[2]
DAGS = CHECKOUT / "dags"
PIPELINE = """pipeline: {name}
schedule: "{schedule}"
source: {{type: aurora, connection: c}}
datasets:
  - name: {name}
    table: shop.{name}
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: shop.{name}}}
"""
DAG_BAG = """
import sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization
{prelude}
folder = Path(sys.argv[1])
dags, errors = {{}}, {{}}
for file in sorted(folder.rglob("*.py")):
    if "lakeferry_airflow" not in file.parts:
        bag = BundleDagBag(dag_folder=file, bundle_path=folder, bundle_name="b", load_op_links=False)
        dags |= {{dag_id: str(file.relative_to(folder)) for dag_id in bag.dags}}
        for dag in bag.dags.values():
            DagSerialization.to_dict(dag)
        errors |= {{name.rsplit("/", 1)[-1]: why for name, why in bag.import_errors.items()}}
print(repr((dags, errors)))
"""
# What may go wrong with one DAG, at the earliest and the latest place: by the name of the pipeline.
FAULTS = """
import lakeferry_airflow.factory as factory
from airflow.sdk import CronDataIntervalTimetable
add_datasets, schedule_of = factory.add_datasets, factory.schedule_of
crons = {"cron": ("*/0 * * * *", "UTC"), "date": ("0 0 31 2 *", "UTC"), "zone": ("@daily", "Mars/Olympus")}
def failing(spec, *others):
    if spec.pipeline == "half":
        raise RuntimeError("no such thing")
    return add_datasets(spec, *others)
def odd(spec, settings):
    if spec.pipeline in crons:
        return CronDataIntervalTimetable(*crons[spec.pipeline])
    return schedule_of(spec, settings)
factory.add_datasets, factory.schedule_of = failing, odd
"""
POLICY = """
from airflow.exceptions import AirflowClusterPolicyViolation
def task_policy(task):
    if task.dag_id == "policy":
        raise AirflowClusterPolicyViolation("no owner is named")
    if task.dag_id == "exits":
        raise SystemExit("not in this house")
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A DAG bundle whose pipelines lie beside its DAG files."""
    folder = tmp_path / "bundle"
    (folder / "pipelines").mkdir(parents=True)
    for file in ("lakeferry.py", "lakeferry_access_control.py", "lakeferry_broken_specs.py"):
        shutil.copy(DAGS / file, folder / file)
    for name in ("bad", "good"):
        (folder / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name, schedule="@hourly"))
    return folder


def parsed(
    bundle: Path, prelude: str = "", policy: str = "", **variables: str
) -> tuple[dict[str, str], dict[str, str]]:
    """DAG ids with their files, and import errors by file, as the DAG processor finds them."""
    home = bundle.parent / "home"
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(policy)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LAKEFERRY_")}
    environment |= {"PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(DAGS))), "AIRFLOW_HOME": str(home), **variables}
    (bundle.parent / "settings.env").write_text("")
    environment["LAKEFERRY_SETTINGS_FILE"] = str(bundle.parent / "settings.env")
    environment["LAKEFERRY_STATE_DIR"] = str(bundle.parent / "state")
    command = [sys.executable, "-c", DAG_BAG.format(prelude=prelude), str(bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: tuple[dict[str, str], dict[str, str]] = eval(done.stdout.strip().splitlines()[-1])
    return found


def test_a_dag_that_airflow_refuses_is_reported_beside_and_the_others_stay(bundle: Path) -> None:
    refused = {
        "cron": "AirflowTimetableInvalid",
        "date": "CroniterBadDateError",
        "exits": "SystemExit: not in this house",
        "half": "RuntimeError: no such thing",
        "policy": "AirflowClusterPolicyViolation: no owner is named",
        "zone": "Mars/Olympus",
    }
    for name in refused:
        (bundle / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name, schedule="@hourly"))
    dags, errors = parsed(bundle, FAULTS, POLICY)
    assert dags == {"bad": "lakeferry.py", "good": "lakeferry.py"}
    assert list(errors) == ["lakeferry_broken_specs.py"]
    said = errors["lakeferry_broken_specs.py"]
    assert "6 broken in" in said
    for name, words in refused.items():
        line = next(line for line in said.splitlines() if line.startswith(f"{name}.yaml: "))
        assert f"Airflow refuses the DAG of pipeline {name}" in line
        assert words in line


def test_a_setting_that_cannot_be_read_is_reported_beside(bundle: Path) -> None:
    dags, errors = parsed(bundle, LAKEFERRY_TASK_RETRIES="many")
    assert dags == {}
    assert list(errors) == ["lakeferry_broken_specs.py"]
    assert "LAKEFERRY_TASK_RETRIES" in errors["lakeferry_broken_specs.py"]


def test_a_pipeline_with_a_file_of_its_own_is_registered_once(bundle: Path) -> None:
    environment = os.environ | {"LAKEFERRY_PIPELINES": str(bundle / "pipelines")}
    write = [sys.executable, "-c", "from jobs.cli.app import main; main()", "dags", "write"]
    done = subprocess.run(write, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{bundle / 'generated'}: 2 written, 0 unchanged, 0 removed\n"
    files = {"bad": "generated/bad.py", "good": "generated/good.py"}
    assert parsed(bundle) == (files, {})
    # Each has its own errors; one that is added has no file yet.
    (bundle / "pipelines" / "bad.yaml").write_text("pipeline: bad\ndatasets: [")
    (bundle / "pipelines" / "new.yaml").write_text(PIPELINE.format(name="new", schedule="@daily"))
    dags, errors = parsed(bundle)
    assert dags == {"good": "generated/good.py", "new": "lakeferry.py"}
    assert list(errors) == ["bad.py"]
    assert "bad.yaml:2" in errors["bad.py"]


def test_a_role_that_does_not_exist_can_only_harm_pipelines_with_roles(bundle: Path) -> None:
    """FAB looks roles up after the parse and fails the DAG's whole file."""
    roles = "airflow: {access_control: {Viewers: [can_read]}}\n"
    (bundle / "pipelines" / "bad.yaml").write_text(PIPELINE.format(name="bad", schedule="@hourly") + roles)
    assert parsed(bundle) == ({"bad": "lakeferry_access_control.py", "good": "lakeferry.py"}, {})
    # A deployment of the one file alone loses no pipeline.
    (bundle / "lakeferry_access_control.py").unlink()
    assert parsed(bundle) == ({"bad": "lakeferry.py", "good": "lakeferry.py"}, {})
