"""How tasks end that Airflow ends: what becomes of their jobs, and what they say."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.timeout import timeout
from airflow.triggers.base import BaseTrigger

from connectors.errors import ServiceUnavailable
from jobs.launch.processes import has_ended, started_at
from jobs.runs.time_limits import TimeLimit
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.spec.airflow_options import AirflowOptions, Timeouts
from lakeferry_airflow import child, patience, planning
from lakeferry_airflow.ends import EndRequest, within
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.guards import start_guard
from lakeferry_airflow.planning import Planning
from lakeferry_airflow.runners.emr_trigger import JobRunTrigger
from lakeferry_airflow.windows import Request
from tests.support.dags.documents import spec_of
from tests.support.dags.runner_double import RunnerDouble

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings
    from lakeferry_airflow.runners import Work
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.runner_double import Script
    from tests.support.dags.task_double import RunDouble


@contextmanager
def sigterm_of(run: RunDouble) -> Iterator[None]:
    """SIGTERM does what it does in Airflow's task runner (`_on_term`): it calls `on_kill` of the task that runs."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: run.running and run.running.on_kill())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(world: World, new_run: NewRun) -> RunDouble:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    return run


def killed_while(state: str | None, run: RunDouble) -> Callable[[], None]:
    """What happens while the job runs: Airflow has given the task this state, and ends its process."""

    def kill() -> None:
        if state is None:
            del run.states["extract"]
        else:
            run.states["extract"] = state
        os.kill(os.getpid(), signal.SIGTERM)

    return kill


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "restarting", "removed", None])
def test_a_task_that_a_person_ended_stops_its_job(script: Script, run: RunDouble, state: str | None) -> None:
    # Without a state the task is gone: its run was deleted.
    script.then(killed_while(state, run))
    with sigterm_of(run):
        end = run.task("extract")
    assert script.stopped == ["job-1"]
    assert end.message == f"the task was set to {state or 'removed'} while it ran: its job is stopped"


@pytest.mark.parametrize("state", ["running", "up_for_retry", "scheduled", "queued"])
def test_a_task_whose_worker_goes_away_leaves_its_job_to_the_next_try(
    world: World, script: Script, run: RunDouble, state: str
) -> None:
    script.then(killed_while(state, run))
    with sigterm_of(run):
        end = run.task("extract")
    assert script.stopped == []
    assert end.state == "up_for_retry"
    assert f"(state of the task: {state}): the job goes on, and the next try" in end.message
    script.then(lambda: world.leave("payments", "extract", "check", "load"))
    assert run.task("extract", try_number=2).state == "success"


def test_a_job_goes_on_where_airflow_does_not_say_the_state(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.dags import task_double

    def no_answer(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("the API server is gone")

    monkeypatch.setattr(task_double._TaskInstance, "get_task_states", no_answer)
    script.then(killed_while("failed", run))
    with sigterm_of(run):
        end = run.task("extract")
    assert (script.stopped, end.state) == ([], "up_for_retry")


def test_a_task_that_is_ended_before_it_submits_submits_nothing(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = RunnerDouble.__init__

    def interrupted(self: RunnerDouble, settings: Settings) -> None:
        opened(self, settings)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunnerDouble, "__init__", interrupted)
    with sigterm_of(run):
        end = run.task("extract")
    assert (script.submitted, end.state) == ([], "up_for_retry")
    assert end.message == "Airflow ended this task before it submitted a job: none runs for it"


@pytest.mark.parametrize(
    ("state", "stopped"),
    [
        ("failed", ["job-1"]),
        ("success", ["job-1"]),
        ("restarting", ["job-1"]),
        (None, ["job-1"]),
        ("running", []),
        ("no answer", []),
    ],
)
def test_a_task_is_not_deferred_where_a_person_ended_it_and_no_heartbeat_has_said_so(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch, state: str | None, stopped: list[str]
) -> None:
    # Airflow refuses the deferral of such a task (409), so no trigger would come to watch the job.
    from tests.support.dags import task_double

    def no_answer(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("the API server is gone")

    submit = RunnerDouble.submit

    def meanwhile(self: RunnerDouble, work: Work) -> str:
        if state == "no answer":
            monkeypatch.setattr(task_double._TaskInstance, "get_task_states", no_answer)
        elif state is None:
            del run.states["extract"]
        else:
            run.states["extract"] = state
        return submit(self, work)

    monkeypatch.setattr(RunnerDouble, "submit", meanwhile)
    script.then(deferred=True)
    end = run.task("extract")
    assert script.stopped == stopped
    assert (end.state == "deferred") == (not stopped)


@pytest.mark.parametrize(("state", "stopped"), [("running", []), ("failed", ["job-1"])])
def test_a_task_that_is_ended_while_it_submits_has_submitted_once(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch, state: str, stopped: list[str]
) -> None:
    submit = RunnerDouble.submit

    def interrupted(self: RunnerDouble, work: Work) -> str:
        killed_while(state, run)()
        return submit(self, work)

    monkeypatch.setattr(RunnerDouble, "submit", interrupted)
    script.then()
    with sigterm_of(run):
        end = run.task("extract")
    assert (len(script.submitted), script.stopped, end.state) == (1, stopped, "up_for_retry")


@pytest.mark.parametrize(
    ("state", "stopped", "end"), [("running", [], "deferred"), ("failed", ["job-1"], "up_for_retry")]
)
def test_a_deferrable_task_that_is_ended_while_it_submits(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch, state: str, stopped: list[str], end: str
) -> None:
    submit = RunnerDouble.submit

    def interrupted(self: RunnerDouble, work: Work) -> str:
        killed_while(state, run)()
        return submit(self, work)

    monkeypatch.setattr(RunnerDouble, "submit", interrupted)
    script.then(deferred=True)
    with sigterm_of(run):
        ended = run.task("extract")
    assert (script.stopped, ended.state) == (stopped, end)


def test_a_stage_that_takes_too_long_is_stopped_and_names_the_limit(script: Script, run: RunDouble) -> None:
    script.then(lambda: time.sleep(20))
    began = time.monotonic()
    with timeout(0.3):
        end = run.task("extract")
    assert time.monotonic() - began < 10
    assert (end.state, script.stopped) == ("up_for_retry", ["job-1"])
    assert end.message.startswith("extract was stopped after 12 h, its time limit. If it needs longer, raise ")
    assert "LAKEFERRY_STAGE_TIMEOUT_MINUTES, or set airflow.timeouts.stage in payments" in end.message
    # The job has the limit, too: it ends where nobody waits for it.
    assert script.submitted[0].limit is not None
    assert script.submitted[0].limit.seconds == 43_200


def test_a_job_that_ended_at_its_limit_names_it(script: Script, run: RunDouble) -> None:
    from lakeferry_airflow.runners import Ended

    script.then()
    script.jobs[0].ended = Ended(False, -15, "process 7 was ended by SIGTERM", over_limit=True)
    end = run.task("extract")
    assert end.state == "up_for_retry"
    assert "was ended by SIGTERM: extract was stopped after 12 h, its time limit" in end.message


@pytest.mark.parametrize(
    ("hours_ago", "wait"),
    [(1 / 60, timedelta(minutes=10)), (2, timedelta(hours=2)), (11, timedelta(hours=1, minutes=10))],
)
def test_a_deferred_stage_looks_by_itself_until_a_little_after_its_limit(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch, hours_ago: float, wait: timedelta
) -> None:
    """For the case that no triggerer runs."""
    script.then(deferred=True)
    first = run.task("extract").deferred
    assert first is not None
    assert first.timeout == timedelta(minutes=10)
    assert script.waits == [timedelta(minutes=10)]
    later(monkeypatch, hours_ago)
    again = run.time_out("extract").deferred
    assert again is not None
    assert again.timeout is not None
    assert abs(again.timeout - wait) < timedelta(seconds=20)
    assert again.kwargs == first.kwargs
    assert script.waits[1] == again.timeout
    assert len(script.submitted) == 1


def test_a_stage_whose_job_cannot_be_followed_beyond_its_limit_names_it(
    script: Script, run: RunDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.then(deferred=True)
    run.task("extract")
    later(monkeypatch, 12.5)
    end = run.time_out("extract")
    assert end.state == "up_for_retry"
    assert "extract was stopped after 12 h, its time limit" in end.message
    assert "No triggerer resumed this task" in end.message


@pytest.mark.parametrize(("minutes_ago", "warned"), [(0, False), (10, True)])
def test_a_deferred_stage_whose_job_ended_concludes_without_a_triggerer(
    world: World,
    script: Script,
    run: RunDouble,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    minutes_ago: int,
    warned: bool,
) -> None:
    """A receipt that came just now is no proof: the triggerer may be about to fire."""
    script.then(deferred=True)
    run.task("extract")
    world.leave("payments", "extract")
    script.jobs[0].deferred = False
    later(monkeypatch, minutes_ago / 60)
    assert run.time_out("extract").state == "success"
    said = capsys.readouterr().out
    assert ("no triggerer resumed this task" in said) == warned
    assert ("LAKEFERRY_EMR_DEFERRABLE=false" in said) == warned


def test_a_stage_that_an_earlier_version_deferred_names_its_limit(script: Script, run: RunDouble) -> None:
    end = run.time_out("extract")
    assert (end.state, "No triggerer resumed this task" in end.message) == ("up_for_retry", True)


def later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Have waits in a triggerer see the clock of that many hours from now."""
    moment = datetime.now(UTC) + timedelta(hours=hours)
    clock = SimpleNamespace(now=lambda zone: moment, fromisoformat=datetime.fromisoformat)
    monkeypatch.setattr(patience, "datetime", clock)


def test_the_limits_of_a_pipeline_reach_its_dag(world: World) -> None:
    options = AirflowOptions(timeouts=Timeouts(plan="10 min", stage="2 h", run="5 h"))  # type: ignore[arg-type]
    dag = build_dag(spec_of("payments").model_copy(update={"airflow": options}), world.settings)
    assert dag.dagrun_timeout == timedelta(hours=5)
    limits = {task.task_id: task.execution_timeout for task in dag.tasks}
    assert limits.pop("plan") == timedelta(minutes=10)
    assert {limits.pop(stage) for stage in ("extract", "check", "load")} == {timedelta(hours=2)}
    assert set(limits.values()) == {timedelta(hours=5)}


PLAN = """\
import os, signal, sys, time
from pathlib import Path
if STUBBORN:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("planning", flush=True)
Path(FILE).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.services
@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("how", ["timeout", "killed", "error"])
def test_a_plan_that_is_interrupted_leaves_no_process(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, stubborn: bool
) -> None:
    file = tmp_path / "pid"
    script = PLAN.replace("STUBBORN", str(stubborn)).replace("FILE", repr(str(file)))
    monkeypatch.setattr(planning, "plan_command", lambda *arguments, **named: [sys.executable, "-c", script])
    end = EndRequest()
    plan = Planning("payments", ["payments"], [], end)

    def pass_line(line: str) -> None:
        while not file.exists():
            time.sleep(0.01)
        if how == "killed":
            end.ask()
        if how == "error":
            raise ZeroDivisionError

    began = time.monotonic()
    said = {"timeout": "plan was stopped after 2 s", "killed": "planning was stopped, as Airflow ended the task"}
    with (
        pytest.raises((AirflowException, ZeroDivisionError), match=said.get(how)),
        within(TimeLimit(2, "it"), "plan"),
        # Where the child is stopped for an error, the limit passes while a stubborn one gets its time to end.
        timeout(30 if how == "killed" else 2),
    ):
        plan.plan("manual__1", Request(), world.settings, pass_line)
    pid = int(file.read_text())
    assert has_ended(pid, started_at(pid) or "")
    # 2 s to the limit, and the grace, which is shorter than Airflow's five seconds.
    assert time.monotonic() - began < (6.5 if stubborn else 4.0)


def test_a_job_that_cannot_be_stopped_at_the_limit_is_in_the_error_of_the_task() -> None:
    def stop() -> None:
        raise ServiceUnavailable("EMR answers 500")

    with (
        pytest.raises(AirflowException, match=r"stopped after 2 s.*may run until its own limit: EMR answers 500"),
        within(TimeLimit(2, "it"), "extract", stop),
    ):
        raise AirflowTaskTimeout


@pytest.mark.services
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_plan_whose_task_is_killed_outright_ends_with_it(tmp_path: Path, stubborn: bool) -> None:
    file = tmp_path / "pid"
    script = PLAN.replace("STUBBORN", str(stubborn)).replace("FILE", repr(str(file)))
    task = f"""
import os, sys
from lakeferry_airflow.child import run_child
run_child([sys.executable, "-c", {script!r}], dict(os.environ), print, lambda: None)
"""
    environment = os.environ | {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'dags'}"}
    with subprocess.Popen([sys.executable, "-c", task], env=environment, stdout=subprocess.DEVNULL) as waits:
        until = time.monotonic() + 30
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < until
            time.sleep(0.02)
        pid = int(file.read_text())
        started = started_at(pid) or ""
        waits.kill()
    until = time.monotonic() + (8 if stubborn else 4)
    while not has_ended(pid, started):
        assert time.monotonic() < until, "the plan goes on"
        time.sleep(0.05)


@pytest.mark.services
def test_a_plan_that_ends_leaves_no_guard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"{world.settings.lake}/plans/1.json"
    script = f"print({uri!r})"
    monkeypatch.setattr(planning, "plan_command", lambda *arguments, **named: [sys.executable, "-c", script])
    guards: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        guards.append(start_guard(*arguments, **streams))
        return guards[-1]

    monkeypatch.setattr(child, "start_guard", start)
    plan = Planning("payments", ["payments"], [], EndRequest())
    assert plan.plan("manual__1", Request(), world.settings, lambda line: None) == uri
    assert [guard.returncode is not None for guard in guards] == [True]


@pytest.mark.services
def test_a_plan_is_not_begun_after_the_task_was_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "plan_command", lambda *arguments, **named: [sys.executable, "-c", "print('begun')"])
    end = EndRequest()
    plan = Planning("payments", ["payments"], [], end)
    end.ask()
    lines: list[str] = []
    with pytest.raises(AirflowException, match="planning was stopped"):
        plan.plan("manual__1", Request(), world.settings, lines.append)
    assert lines == []


class Emr:
    """In the place of EMR: a job that runs, and is cancelled by request."""

    def __init__(self) -> None:
        self.state_of_job = "RUNNING"

    def describe(self, job_id: str) -> dict[str, Any]:
        return {"state": self.state_of_job}

    def stop(self, job_id: str) -> None:
        self.state_of_job = "CANCELLED"


@pytest.fixture
def emr(monkeypatch: pytest.MonkeyPatch) -> Emr:
    emr = Emr()

    async def opened(_: JobRunTrigger) -> Emr:
        return emr

    monkeypatch.setattr(JobRunTrigger, "_open_jobs", opened)
    return emr


def trigger_of_task(monkeypatch: pytest.MonkeyPatch, state: str | None) -> JobRunTrigger:
    trigger = JobRunTrigger("app", "job")
    trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
        dag_id="payments", run_id="r", task_id="extract", map_index=-1
    )

    def states(**asked: Any) -> dict[str, dict[str, str | None]]:
        if state == "no answer":
            raise ConnectionError
        return {"r": {"extract": state}} if asked["run_ids"] == ["r"] else {}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))
    return trigger


ENDED = [
    ("failed", "CANCELLED"),
    ("success", "CANCELLED"),
    ("skipped", "CANCELLED"),
    (None, "CANCELLED"),
    ("scheduled", "CANCELLED"),
    ("deferred", "RUNNING"),
    ("no answer", "RUNNING"),
]


@pytest.mark.parametrize(("state", "job"), ENDED)
def test_a_deferred_job_is_cancelled_for_a_person_alone(
    emr: Emr, monkeypatch: pytest.MonkeyPatch, state: str | None, job: str
) -> None:
    asyncio.run(trigger_of_task(monkeypatch, state).on_kill())
    assert emr.state_of_job == job


@pytest.mark.parametrize(("state", "job"), ENDED)
def test_before_3_3_a_cancelled_trigger_does_what_on_kill_does(
    emr: Emr, monkeypatch: pytest.MonkeyPatch, state: str | None, job: str
) -> None:
    monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    asyncio.run(cancelled(trigger_of_task(monkeypatch, state)))
    assert emr.state_of_job == job


@pytest.mark.parametrize(
    ("state", "seconds_ago", "job"),
    [
        # Airflow resumed the task after its wait, and cancels the trigger, which still runs.
        ("scheduled", 1, "RUNNING"),
        ("queued", 30, "RUNNING"),
        ("running", 600, "RUNNING"),
        ("up_for_retry", 60, "RUNNING"),
        # A person did something else meanwhile, or before.
        ("failed", 1, "CANCELLED"),
        (None, 1, "CANCELLED"),
        ("scheduled", -300, "CANCELLED"),
    ],
)
def test_a_job_goes_on_where_its_task_looks_at_it_after_a_wait(
    monkeypatch: pytest.MonkeyPatch, emr: Emr, state: str | None, seconds_ago: int, job: str
) -> None:
    trigger = trigger_of_task(monkeypatch, state)
    trigger.looks_at = time.time() - seconds_ago
    asyncio.run(trigger.on_kill())
    assert emr.state_of_job == job


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="Airflow calls on_kill from 3.3 on")
def test_a_triggerer_that_shuts_down_cancels_no_job(emr: Emr, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(cancelled(trigger_of_task(monkeypatch, "failed")))
    assert emr.state_of_job == "RUNNING"


async def cancelled(trigger: JobRunTrigger) -> None:
    """Cancel a running trigger, as a triggerer does."""
    task = asyncio.ensure_future(anext(trigger.run()))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_trigger_fires_at_the_limit_of_its_job(emr: Emr) -> None:
    event = asyncio.run(anext(JobRunTrigger("app", "job", ends_at=time.time() - 1).run()))  # type: ignore[arg-type]
    assert event.payload == {"job_id": "app/job"}
    # One that an earlier version deferred has no limit.
    assert JobRunTrigger(**{"application_id": "app", "job_id": "job"}).ends_at is None
