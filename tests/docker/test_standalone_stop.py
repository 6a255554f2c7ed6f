"""The local Airflow stops at once: the API server answers until the scheduler's tasks have reported their end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.launch.processes import has_ended, started_at
from jobs.runtime.settings import Settings
from local_airflow.standalone import stop

pytestmark = pytest.mark.services

_API = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); time.sleep(60)"
_SCHEDULER = """
import os, pathlib, signal, sys, time
def ended(*_):
    time.sleep(0.5)
    state = pathlib.Path(f"/proc/{sys.argv[1]}/stat").read_text().rpartition(")")[2].split()[0]
    pathlib.Path(sys.argv[2]).write_text("reported" if state != "Z" else "nobody answered")
    os._exit(0)
signal.signal(signal.SIGTERM, ended)
print("up", flush=True)
time.sleep(60)
"""


def _child(*command: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", *command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    return child


def test_tasks_can_report_their_end_while_airflow_stops(tmp_path: Path) -> None:
    report = tmp_path / "report"
    api = _child(_API)
    parts = {"api-server": api, "scheduler": _child(_SCHEDULER, str(api.pid), str(report))}
    (tmp_path / "airflow").mkdir()
    listed = {part: {"pid": child.pid, "started": started_at(child.pid)} for part, child in parts.items()}
    (tmp_path / "airflow" / "processes.json").write_text(json.dumps(listed), encoding="utf-8")
    assert stop(Settings(state_dir=tmp_path))
    assert report.read_text(encoding="utf-8") == "reported"
    assert all(has_ended(entry["pid"], str(entry["started"])) for entry in listed.values())
    assert not stop(Settings(state_dir=tmp_path))
    for child in parts.values():
        assert child.stdout is not None
        child.stdout.close()
        child.wait()
