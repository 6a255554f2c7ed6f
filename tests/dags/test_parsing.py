"""Parsing: what it imports, what it opens, and what a broken file does to the others."""

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
FIVE = ["app_events", "merchant_sales", "payments", "settlements", "wallet"]
ALL = sorted([*FIVE, "lakeferry_page"])
PARSE = """
import sys, time
import airflow.sdk
opened = []
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        opened.append((event, arguments[1:]))
sys.addaudithook(note)
sys.path.append(sys.argv[1])
before = time.process_time()
import lakeferry
spent = time.process_time() - before
names = ("pyspark", "great_expectations", "pyiceberg", "pandas", "google.cloud.bigquery", "altair")
names += ("jobs.reporting.page.render",)
heavy = [name for name in names if name in sys.modules]
dags = sorted(name for name, value in vars(lakeferry).items() if type(value).__name__ == "DAG")
print(repr((heavy, opened, dags, spent)))
"""
BROKEN = """pipeline: broken
source: {type: aurora, connection: aurora_payments}
datasets:
  - name: broken
    table: shop.payments
    write_dispositon: append
    bigquery: {table: shop.broken}
"""
DAG_BAG = """
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
print(repr((sorted(bag.dags), {path.rsplit("/", 1)[-1]: why for path, why in bag.import_errors.items()})))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    pipelines = tmp_path / "pipelines"
    shutil.copytree(DAGS / "pipelines", pipelines)
    paths = os.pathsep.join((str(CHECKOUT), str(DAGS)))
    return os.environ | {
        "PYTHONPATH": paths,
        "AIRFLOW_HOME": str(tmp_path),
        "LAKEFERRY_PIPELINES": str(pipelines),
        "LAKEFERRY_STATE_DIR": str(tmp_path / "state"),
    }


def run(program: str, environment: dict[str, str]) -> tuple[object, ...]:
    command = [sys.executable, "-c", program, str(DAGS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    result: tuple[object, ...] = eval(done.stdout.strip().splitlines()[-1])
    return result


def test_parsing_imports_nothing_heavy_and_opens_no_connection(environment: dict[str, str]) -> None:
    heavy, opened, dags, spent = run(PARSE, environment)
    assert heavy == []
    assert opened == []
    assert dags == FIVE
    assert isinstance(spent, float)
    assert spent < 5, "seconds of processor time for five pipelines, beyond Airflow's own"


def test_a_broken_file_breaks_only_itself_and_airflow_says_which_and_why(environment: dict[str, str]) -> None:
    (Path(environment["LAKEFERRY_PIPELINES"]) / "broken.yaml").write_text(BROKEN)
    dags, errors = run(DAG_BAG, environment)
    assert dags == ALL
    assert isinstance(errors, dict)
    assert list(errors) == ["lakeferry_broken_specs.py"]
    assert "broken.yaml:6" in errors["lakeferry_broken_specs.py"]
    assert "Did you mean write_disposition?" in errors["lakeferry_broken_specs.py"]


def test_files_that_are_no_text_and_schedules_that_airflow_refuses_break_only_themselves(
    environment: dict[str, str],
) -> None:
    pipelines = Path(environment["LAKEFERRY_PIPELINES"])
    (pipelines / "cp932.yaml").write_bytes("pipeline: cp932\ndescription: 売上\n".encode("cp932"))
    (pipelines / "utf16.yaml").write_bytes("pipeline: utf16\n".encode("utf-16"))
    (pipelines / "._payments.yaml").write_bytes(bytes.fromhex("000516070002000000b0"))
    (pipelines / ".#payments.yaml").symlink_to("root@host.1234")
    (pipelines / "link.yaml").symlink_to("gone.yaml")
    (pipelines / "folder.yaml").mkdir()
    os.mkfifo(pipelines / "pipe.yaml")
    (pipelines / "nested.yaml").write_text("[" * 3000)
    (pipelines / "itself.yaml").write_text("pipeline: itself\nx: &x [*x]\n")
    (pipelines / "pay.yml").write_text("pipeline: pay\n")
    schedules = ["*/0 * * * *", "mon * * * *", "０ ３ * * *", "0\u30003 * * *", "0 0 31 2 *"]
    for number, schedule in enumerate(schedules):
        healthy = BROKEN.replace("dispositon", "disposition").replace("broken", f"cron{number}")
        (pipelines / f"cron{number}.yaml").write_text(healthy.replace("source:", f'schedule: "{schedule}"\nsource:'))
    dags, errors = run(DAG_BAG, environment)
    assert dags == ALL
    assert isinstance(errors, dict)
    assert list(errors) == ["lakeferry_broken_specs.py"]
    said = errors["lakeferry_broken_specs.py"]
    assert "13 broken in" in said
    for file in ("cp932.yaml:2", "utf16.yaml:1", "link.yaml", "folder.yaml", "pipe.yaml", "nested.yaml:1"):
        assert f"{file}: " in said
    for file in ("itself.yaml:2", "pay.yml", *(f"cron{number}.yaml:2" for number in range(5))):
        assert file in said


def test_without_a_broken_file_there_is_no_import_error(environment: dict[str, str]) -> None:
    assert run(DAG_BAG, environment) == (ALL, {})
