"""The trigger that waits for a job: where it asks Airflow, and what it takes for the job's end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from connectors.errors import AccessDenied, ConnectionNotFound, LakeferryError, ObjectNotFound, ServiceUnavailable
from lakeferry_airflow.runners import emr_sight, emr_trigger
from lakeferry_airflow.runners.emr_trigger import JobRunTrigger

Script = list[str | LakeferryError]


def job(state: str) -> dict[str, Any]:
    return {"state": state, "createdAt": datetime.now(UTC), "executionTimeoutMinutes": 60}


class Jobs:
    """The answers of EMR, one after the other; `loop` is the event loop that a question to Airflow would be sent in."""

    script: Script
    opening: Script
    loop: asyncio.AbstractEventLoop

    def __init__(self, _: object) -> None:
        async def running() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        if Jobs.opening and isinstance(problem := Jobs.opening.pop(0), LakeferryError):
            raise problem
        Jobs.loop = async_to_sync(running)()

    def describe(self, job_id: str) -> dict[str, Any]:
        answer = Jobs.script.pop(0)
        if isinstance(answer, LakeferryError):
            raise answer
        return job(answer)

    def stop(self, job_id: str) -> None:
        Jobs.script.append(f"stopped {job_id}")


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> Callable[..., asyncio.AbstractEventLoop]:
    """Runs a trigger to its event and returns the event loop it ran in."""
    monkeypatch.setattr(emr_trigger, "EmrJobs", Jobs)
    monkeypatch.setattr(emr_trigger, "_PAUSE_SECONDS", 0.0)

    def run(script: Script, opening: Script | None = None) -> asyncio.AbstractEventLoop:
        Jobs.script, Jobs.opening = script, opening or []

        async def first_event() -> asyncio.AbstractEventLoop:
            event = await anext(JobRunTrigger("00a", "00j", time.time() + 3600).run())
            assert event.payload == {"job_id": "00a/00j"}
            return asyncio.get_running_loop()

        return asyncio.run(first_event())

    return run


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    log = SimpleNamespace(info=lambda *_: None, warning=lambda form, *words: said.append(form % words))
    monkeypatch.setattr(JobRunTrigger, "log", log)
    return said


def test_airflow_is_asked_in_the_event_loop_of_the_triggerer(fired: Callable[..., asyncio.AbstractEventLoop]) -> None:
    assert fired(["RUNNING", "SUCCESS"]) is Jobs.loop


def test_a_job_is_stopped_by_a_client_that_was_opened_in_the_same_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emr_trigger, "EmrJobs", Jobs)
    Jobs.script, Jobs.opening = [], []

    async def kill() -> asyncio.AbstractEventLoop:
        await JobRunTrigger("00a", "00j").on_kill()
        return asyncio.get_running_loop()

    assert asyncio.run(kill()) is Jobs.loop
    assert Jobs.script == ["stopped 00a/00j"]


@pytest.mark.parametrize("error", [AccessDenied("no right"), ServiceUnavailable("answers 500"), ObjectNotFound("gone")])
def test_a_look_that_fails_is_not_the_end(
    fired: Callable[..., asyncio.AbstractEventLoop], warnings: list[str], error: LakeferryError
) -> None:
    fired(["RUNNING", error, error, "RUNNING", "FAILED"], [ConnectionNotFound("no lake_aws")])
    assert Jobs.script == []
    assert warnings == [
        "EMR Serverless job 00a/00j cannot be seen now, and goes on: no lake_aws.",
        "EMR Serverless job 00a/00j can be seen again",
        f"EMR Serverless job 00a/00j cannot be seen now, and goes on: {error}",
        "EMR Serverless job 00a/00j can be seen again",
    ]


def test_a_job_that_is_never_seen_is_given_to_its_task(
    fired: Callable[..., asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(emr_sight, "UNSEEN_SECONDS", 0.0)
    fired([AccessDenied("no right to look", fix="Grant it")])
    assert warnings == ["EMR Serverless job 00a/00j cannot be seen, and may run: no right to look. Grant it."]


def test_a_trigger_that_missed_its_first_look_learns_the_limit(
    monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """The job was submitted two hours ago, its limit is an hour, and EMR has not cancelled it."""
    monkeypatch.setattr(emr_trigger, "EmrJobs", Jobs)
    monkeypatch.setattr(emr_trigger, "_PAUSE_SECONDS", 0.0)
    old = {"state": "RUNNING", "createdAt": datetime.now(UTC) - timedelta(hours=2), "executionTimeoutMinutes": 60}
    monkeypatch.setattr(Jobs, "describe", lambda *_: old)
    Jobs.script, Jobs.opening = [], []

    async def first_event() -> None:
        await asyncio.wait_for(anext(JobRunTrigger("00a", "00j").run()), timeout=5)

    asyncio.run(first_event())
    assert warnings == []
