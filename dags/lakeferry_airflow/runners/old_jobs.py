"""Removes the files of local jobs of runs that are over for a week.

Cost: once a day one look at each run's folder, about a second for 100,000 of them, and one at each file of those in
which nothing was made for a week.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING

from jobs.launch.processes import group_runs
from lakeferry_airflow.runners.local_jobs import read_job

if TYPE_CHECKING:
    from pathlib import Path

_DAY_SECONDS = 86_400
_KEPT_SECONDS = 7 * _DAY_SECONDS
# Its time is that of the last look.
_MARK = ".looked"
log = logging.getLogger(__name__)


def remove_old_jobs(folder: Path, now: float | None = None) -> None:
    """Remove the folders of runs in which nothing changed for a week and of which no process runs.

    Looks once a day, no matter who asks. If something cannot be removed, it warns: no run fails because of it.

    Args:
        folder: `jobs` below the state folder; it holds a folder per pipeline, which holds one per run.
        now: seconds since the epoch; None: this moment.
    """
    now = time.time() if now is None else now
    mark = folder / _MARK
    try:
        if mark.exists() and now - mark.stat().st_mtime < _DAY_SECONDS:
            return
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
        os.utime(mark, (now, now))
        runs = [run for run in folder.glob("*/*") if _is_old(run, now) and run.is_dir()]
    except OSError as error:
        log.warning("The files of old jobs in %s cannot be listed: %s", folder, error)
        return
    for run in runs:
        try:
            if all(_is_old(file, now) for file in run.iterdir()) and not any(
                _runs(file) for file in run.glob("*.json")
            ):
                shutil.rmtree(run)
        except OSError as error:
            log.warning("The files of an old job in %s cannot be removed: %s", run, error)


def _is_old(path: Path, now: float) -> bool:
    return now - path.stat().st_mtime > _KEPT_SECONDS


def _runs(file: Path) -> bool:
    """Whether the job's process may run. One of another machine is taken to have ended: its output is a week old."""
    job = read_job(file)
    return job is not None and job.is_here and group_runs(job.pid, job.started)
