"""Time limits of EMR jobs, and jobs that are being cancelled."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from jobs.runs.time_limits import TimeLimit
from lakeferry_airflow.runners import Work, emr_jobs, emr_serverless
from lakeferry_airflow.runners.emr_trigger import JobRunTrigger
from tests.conformance.runners.kits import EmrKit, ended


def limited(emr: EmrKit, name: str, seconds: float, attempt: int = 1) -> Work:
    work = emr.work(name, attempt)
    return Work(
        work.pipeline, work.run_id, work.stage, work.plan_uri, work.through, attempt, limit=TimeLimit(seconds, "it")
    )


def test_a_job_that_outlives_its_limit_is_cancelled_and_said_to_be_over_it(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = emr.runner(emr_deferrable=True)
    job = runner.submit(limited(emr, "waits", 5400))
    emr.pids("waits", 1)
    described = emr.job(job)
    assert described["executionTimeoutMinutes"] == 90
    trigger = runner.trigger(job)
    assert isinstance(trigger, JobRunTrigger)
    assert trigger.ends_at == described["createdAt"].timestamp() + 5400
    # A retry keeps the limit of the job that it adopts, counted from the job's own start.
    assert runner.submit(limited(emr, "waits", 60, attempt=2)) == job
    later = SimpleNamespace(time=lambda: time.time() + 5401, sleep=time.sleep, monotonic=time.monotonic)
    monkeypatch.setattr(emr_serverless, "time", later)
    end, output = ended(runner, job)
    assert not end.succeeded
    assert f"EMR Serverless job {job} has reached its time limit: cancelling it" in output
    assert "ended as CANCELLED" in end.details
    assert emr.job(job)["state"] == "CANCELLED"
    # This machine's EMR cancelled it early, by its own clock: the runner's request made it so.
    assert end.over_limit


def test_a_job_that_a_person_cancels_is_not_over_its_limit(emr: EmrKit) -> None:
    runner = emr.runner()
    job = runner.submit(limited(emr, "waits", 3600))
    emr.pids("waits", 1)
    runner.stop(job)
    end, _ = ended(runner, job)
    assert (end.succeeded, end.over_limit) == (False, False)


def test_a_job_that_is_being_cancelled_is_not_adopted(emr: EmrKit, monkeypatch: pytest.MonkeyPatch) -> None:
    # The EMR of this machine cancels at once; the real one shows CANCELLING for a while.
    first = emr.runner().submit(emr.work("waits", attempt=1))
    emr.pids("waits", 1)
    cancelled = threading.Event()
    states = emr_jobs.EmrJobs.state

    def slowly(self: emr_jobs.EmrJobs, job_id: str) -> tuple[str, str]:
        if job_id == first and not cancelled.is_set():
            cancelled.set()
            emr.runner().stop(first)
            return "CANCELLING", ""
        return states(self, job_id)

    monkeypatch.setattr(emr_jobs.EmrJobs, "state", slowly)
    runner = emr.runner()
    second = runner.submit(emr.work("waits", attempt=2))
    emr.let_go("waits")
    assert second != first
    assert ended(runner, second)[0].succeeded
