"""The oldest Airflow that is supported: the tests of `dags/` that need no service, in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime.project import CODE_ROOT as CHECKOUT

pytestmark = pytest.mark.services

TESTS = (
    "test_cleared_runs.py",
    "test_commands.py",
    "test_connections.py",
    "test_dag_options.py",
    "test_dag_structure.py",
    "test_dataset_tasks.py",
    "test_emr_trigger.py",
    "test_ends.py",
    "test_notifiers.py",
    "test_one_machine.py",
    "test_outcome.py",
    "test_plan_decisions.py",
    "test_policy.py",
    "test_receipt_trigger.py",
    "test_record_reads.py",
    "test_registration.py::test_a_dag_that_airflow_refuses_is_reported_beside_and_the_others_stay",
    "test_requested_windows.py",
    "test_retries.py",
    "test_run_form.py",
    "test_schedule_times.py",
    "test_scheduling.py",
    "test_serialization.py",
    "test_stage_decisions.py",
    "test_task_notes.py",
    "test_verdict.py",
    "test_whole_run.py",
)
"""Those where Airflow has a say. Left out are those of files, processes and the REST client, which are the same for
each version, and those that need PySpark or a provider of Amazon's."""


@pytest.mark.timeout(300)
def test_the_dags_work_in_the_oldest_airflow(tmp_path: Path) -> None:
    native = CHECKOUT / "docker" / "native"
    question = [sys.executable, "-c", "import oldest_airflow; print(oldest_airflow.python())"]
    python = subprocess.run(question, cwd=native, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(python).exists(), "install it: docker/native/services.py oldest-airflow"
    files = [str(CHECKOUT / "tests" / "dags" / name) for name in TESTS]
    # Without the settings of the services: a test that needs one has no place in the list.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LAKEFERRY_", "AIRFLOW"))}
    environment = kept | {"LAKEFERRY_SETTINGS_FILE": str(tmp_path / "none.env"), "PYTHONPATH": ""}
    (tmp_path / "none.env").touch()
    # Its libraries have warnings of their own.
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", f"--confcutdir={CHECKOUT / 'tests' / 'dags'}"]
    done = subprocess.run(
        [python, "-m", "pytest", *options, *files],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " failed" not in done.stdout
