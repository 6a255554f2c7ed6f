"""The variables that reach a process which a task starts: the names of a real child's environment."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobs.launch.child_environment import inherited
from jobs.runtime.settings import Settings
from lakeferry_airflow import planning
from lakeferry_airflow.ends import EndRequest
from lakeferry_airflow.runners import Work, local
from lakeferry_airflow.windows import Request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.services

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
AIRFLOWS = {
    "AIRFLOW__API_AUTH__JWT_SECRET": "s1",
    "AIRFLOW__CORE__FERNET_KEY": "s2",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:s3@db/airflow",
    "AIRFLOW__CELERY__BROKER_URL": "redis://:s4@redis/0",
    "AIRFLOW_CONN_OTHERS_DB": "mysql://other:s5@db/other",
    "AIRFLOW_HOME": "/airflow",
    "SLACK_WEBHOOK": "s6",
}
NEEDED = {
    "HOME": "/home/airflow",
    "LC_ALL": "C.UTF-8",
    "TZ": "Asia/Tokyo",
    "AWS_PROFILE": "lake",
    "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
    "https_proxy": "http://proxy:3128",
    "REQUESTS_CA_BUNDLE": "/ca.pem",
    "SPARK_LOCAL_DIRS": "/scratch",
    "XDG_CACHE_HOME": "/cache",
    "TMPDIR": "/tmp",
    "LAKEFERRY_DATASETS_IN_PARALLEL": "2",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (AIRFLOWS | NEEDED).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", "mysql://shop:own@db:3306/shop")


def checked(seen: dict[str, str]) -> None:
    assert not [name for name in seen if name in AIRFLOWS or (name.startswith("AIRFLOW_") and "SHOP_DB" not in name)]
    assert seen.items() >= NEEDED.items()
    assert "own" in seen["AIRFLOW_CONN_SHOP_DB"]


def test_the_plan_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(lake=f"file://{tmp_path}")
    code = f"{SHOW}; print('file://{tmp_path}/plans/p/r/1.json')"
    monkeypatch.setattr(planning, "plan_command", lambda *_, **__: [sys.executable, "-c", code])
    lines: list[str] = []
    planning.Planning("p", ["d"], ["shop_db"], EndRequest()).plan("r", Request(None, None, ()), settings, lines.append)
    checked(json.loads(lines[0]))


def test_a_local_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "local_command", lambda *_: [sys.executable, "-c", SHOW])
    given: dict[str, Any] = {"pipeline": "p", "run_id": "r", "stage": "extract", "plan_uri": "file:///plan"}
    own = {"AIRFLOW_CONN_SHOP_DB": "mysql://shop:own@db:3306/shop"}
    runner = local.LocalRunner(Settings(state_dir=tmp_path))
    lines: list[str] = []
    ended = runner.wait(runner.submit(Work(**given, through=None, attempt=1, connections=own)), lines.append)
    assert ended.succeeded
    checked(json.loads(lines[0]))


def test_names_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYTEAM_TOKEN", "t")
    settings = Settings(pass_environment="SLACK_WEBHOOK, MYTEAM_*,")
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], env=inherited(settings), capture_output=True, text=True, check=True, timeout=60
    )
    seen = json.loads(shown.stdout)
    assert (seen["SLACK_WEBHOOK"], seen["MYTEAM_TOKEN"]) == ("s6", "t")
    assert "AIRFLOW__CORE__FERNET_KEY" not in seen
