"""The files of local jobs go after a week, and not before, and not under a process that runs."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from jobs.launch.processes import started_at
from lakeferry_airflow.runners.old_jobs import remove_old_jobs

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400
NOW = time.time()


def job(folder: Path, run: str, days_old: float, *, log_days_old: float | None = None, pid: int = 0) -> Path:
    files = folder / "payments" / run
    files.mkdir(parents=True)
    written = {"pid": pid, "started": started_at(pid) or "" if pid else "", "plan_uri": "file:///p", "output": "o"}
    (files / "extract.json").write_text(json.dumps(written))
    (files / "extract.1.log").write_text("{}\n")
    for name in ("extract.json", "extract.1.log", "."):
        age = log_days_old if name.endswith(".log") and log_days_old is not None else days_old
        os.utime(files / name, (NOW - age * DAY, NOW - age * DAY))
    return files


def test_what_is_a_week_old_and_over_is_removed(tmp_path: Path) -> None:
    old = job(tmp_path, "old", 8)
    recent = job(tmp_path, "recent", 6)
    long = job(tmp_path, "long", 8, log_days_old=0.1)
    silent = job(tmp_path, "silent", 30, pid=os.getpid())
    broken = job(tmp_path, "broken", 8)
    (broken / "extract.json").write_text("{")
    os.utime(broken / "extract.json", (NOW - 8 * DAY, NOW - 8 * DAY))
    remove_old_jobs(tmp_path, NOW)
    assert [path.exists() for path in (old, recent, long, silent, broken)] == [False, True, True, True, False]


def test_it_looks_once_a_day(tmp_path: Path) -> None:
    remove_old_jobs(tmp_path / "jobs", NOW)
    old = job(tmp_path / "jobs", "old", 8)
    remove_old_jobs(tmp_path / "jobs", NOW + 0.9 * DAY)
    assert old.exists()
    remove_old_jobs(tmp_path / "jobs", NOW + 1.1 * DAY)
    assert not old.exists()


def test_a_folder_that_cannot_be_listed_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    remove_old_jobs(tmp_path / "jobs", NOW)
