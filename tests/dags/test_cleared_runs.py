"""Runs that are carried out once more: cleared, or created again under their id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobs.runs.run_request import RunRequest
from lakeferry_airflow import emissions
from tests.dags.test_dataset_tasks import extras
from tests.support.dags.documents import RUN

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.plan_double import Planner
    from tests.support.dags.runner_double import Script

pytestmark = pytest.mark.services

STAGES = ("extract", "check", "load")


def emitted(*datasets: str, generation: int = 1) -> list[SimpleNamespace]:
    """Both events of each dataset, as Airflow keeps them."""
    return [
        SimpleNamespace(
            asset=SimpleNamespace(uri=f"{address}{dataset}"),
            extra={"generation": generation},
            source_dag_id="payments",
            source_run_id=RUN,
        )
        for dataset in datasets
        for address in ("x-lakeferry://lake/", "bigquery://lakeferry-local/shop/")
    ]


def test_planning_is_given_the_request_and_the_invocation(world: World, planner: Planner, new_run: NewRun) -> None:
    planner.plans = lambda: world.plan(payments="planned")
    new_run("payments", conf={"start": "2026-11-20T00:00:00Z"}, clear_number=2).task("plan")
    assert planner.requests == [
        {
            "start": "2026-11-20T00:00:00Z",
            "end": None,
            "datasets": (),
            "clear_number": 2,
            "started_at": "2026-11-23T00:00:00+00:00",
        }
    ]


def test_a_cleared_run_that_has_delivered_is_skipped_and_says_so_in_every_task(
    world: World, script: Script, planner: Planner, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.plan(payments="planned", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    planner.plans = lambda: uri
    run = new_run("payments", clear_number=1)
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: emitted("payments"))
    tasks = ("plan", *STAGES, *(task for task in run.dag.task_ids if "." in task), "verdict")
    ends = {task: run.task(task) for task in tasks}
    assert {end.state for end in ends.values()} == {"skipped"}
    for end in ends.values():
        assert "payments: delivered on 20" in end.message
        assert "To move a past window, ask for it with start and end" in end.message
    assert script.submitted == []


def test_a_retry_of_plan_and_a_cleared_run_that_has_work_left_go_on(
    world: World, planner: Planner, new_run: NewRun
) -> None:
    uri = world.plan(payments="planned", merchants="planned", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    planner.plans = lambda: uri
    end = new_run("payments", "merchants", clear_number=1).task("plan")
    assert (end.state, end.value) == ("success", uri)
    world.leave("merchants", *STAGES, published=1, loaded=1)
    end = new_run("payments", "merchants", clear_number=0).task("plan", try_number=2)
    assert (end.state, end.value) == ("success", uri)


def test_the_next_generation_of_a_cleared_run_is_carried_out(
    world: World, script: Script, planner: Planner, new_run: NewRun
) -> None:
    world.plan(payments="planned", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    planner.plans = lambda: world.plan(2, payments="planned", clear_number=1)
    run = new_run("payments", conf={"start": "2026-11-20T00:00:00Z"}, clear_number=1)
    assert run.task("plan").state == "success"
    script.then(lambda: world.leave("payments", *STAGES, generation=2, published=3, loaded=3))
    assert [run.task(stage).state for stage in STAGES] == ["success"] * 3
    [job] = script.submitted
    assert job.plan_uri.endswith("/2.json")


def test_a_logical_date_is_said_to_be_no_window(
    world: World, planner: Planner, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakeferry_airflow.ends import EndRequest
    from lakeferry_airflow.planning import Planning

    planner.plans = lambda: world.plan(payments="planned")
    said: list[str] = []
    run = new_run("payments")
    planning = Planning("payments", ["payments"], [], EndRequest())
    planning.plan_run(run.context(run.dag.get_task("plan")), world.settings, said.append)
    assert said[0].startswith(
        "The logical date 2026-11-23T00:00:00+00:00 is not a window: this run starts at the published"
    )
    said.clear()
    run = new_run("payments", conf={"start": "2026-11-20T00:00:00Z"})
    planning.plan_run(run.context(run.dag.get_task("plan")), world.settings, said.append)
    assert [line for line in said if "logical date" in line] == []


def test_a_cleared_run_that_delivered_and_never_emitted_emits_now(
    world: World, script: Script, planner: Planner, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks of its datasets were ended before: by the run's limit, with their worker, or by hand."""
    uri = world.plan(payments="planned", merchants="planned", clear_number=0)
    for dataset in ("payments", "merchants"):
        world.leave(dataset, *STAGES, published=3, loaded=3)
    planner.plans = lambda: uri
    run = new_run("payments", "merchants", clear_number=1)
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: emitted("merchants"))
    assert run.task("plan").state == "success"
    assert [run.task(stage).state for stage in STAGES] == ["success"] * 3
    assert run.task("datasets.payments").state == "success"
    assert {uri: extra["batch"] for uri, extra in extras(run).items()} == {
        "x-lakeferry://lake/payments": None,
        "bigquery://lakeferry-local/shop/payments": None,
    }
    assert run.task("datasets.merchants").state == "success"
    assert extras(run) == {}
    assert run.task("verdict").state == "success"
    assert script.submitted == []


def test_a_cleared_run_emits_what_its_plan_before_delivered_and_nobody_heard_of(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that each run reads whole is planned again when its run is cleared, and has nothing new by then."""
    world.plan(payments="planned", merchants="planned", clear_number=0)
    for dataset in ("payments", "merchants"):
        world.leave(dataset, *STAGES, published=3, loaded=3)
    run = new_run("payments", "merchants", clear_number=1)
    run.planned(world.plan(2, payments="planned", merchants="planned", clear_number=1))
    for dataset in ("payments", "merchants"):
        world.leave(dataset, *STAGES, generation=2, verdict="empty")
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: emitted("merchants"))
    assert run.task("datasets.payments").state == "success"
    assert {uri: extra["generation"] for uri, extra in extras(run).items()} == {
        "x-lakeferry://lake/payments": 1,
        "bigquery://lakeferry-local/shop/payments": 1,
    }
    end = run.task("datasets.merchants")
    assert (end.state, extras(run)) == ("skipped", {})
    assert "nothing new" in end.message


def test_a_run_that_was_created_again_repeats_no_event(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow keeps the events of a run that was deleted, and the new one's tasks are at their first try."""
    world.plan(payments="planned", merchants="empty", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    run = new_run("payments", "merchants")
    run.planned(world.plan(2, carried=("payments",), payments="planned", merchants="empty", clear_number=0))
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: emitted("payments"))
    assert run.task("datasets.payments").state == "success"
    assert extras(run) == {}


def test_a_run_does_not_follow_what_somebody_else_asked_for_under_its_id(
    world: World, script: Script, new_run: NewRun
) -> None:
    """Another plan of the run may leave datasets out: the run would be green without them."""
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    world.plan(2, payments="planned", request=RunRequest(datasets=("payments",)))
    world.leave("payments", *STAGES, generation=2, published=2, loaded=2)
    ends = [run.task(task) for task in (*STAGES, "datasets.payments", "datasets.merchants", "verdict")]
    assert {end.state for end in ends} == {"failed"}
    for end in ends:
        assert "was planned for all datasets from the published position" in end.message
        assert "planned it again for the datasets payments from the published position" in end.message
        assert "Clear the task plan with downstream" in end.message
    assert script.submitted == []


class Airflow:
    """Airflow's table of events, asked as its API is: from a moment on, oldest first, so many at most."""

    def __init__(self) -> None:
        self.events: list[SimpleNamespace] = []
        self.questions = 0

    def add(self, at: datetime, events: list[SimpleNamespace], run_id: str) -> None:
        for event in events:
            event.timestamp, event.source_run_id = at, run_id
            self.events.append(event)

    def answer(self, source: Asset, after: str | None, count: int) -> list[SimpleNamespace]:
        self.questions += 1
        since = datetime.fromisoformat(after) if after else datetime.min.replace(tzinfo=UTC)
        return [each for each in self.events if each.asset.uri == source.uri and each.timestamp >= since][:count]


@pytest.mark.parametrize("later_runs", [0, 12_000])
def test_the_events_of_a_run_are_found_behind_those_of_later_runs(
    world: World, planner: Planner, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, later_runs: int
) -> None:
    uri = world.plan(payments="planned", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    airflow, now = Airflow(), datetime.now(UTC)
    # Events of another run before, and the clock of Airflow's machine is behind.
    airflow.add(now - timedelta(days=1), emitted("payments"), "earlier")
    airflow.add(now - timedelta(minutes=1), emitted("payments"), RUN)
    for number in range(later_runs):
        airflow.add(now + timedelta(hours=1, seconds=number), emitted("payments"), f"later {number}")
    planner.plans = lambda: uri
    run = new_run("payments", clear_number=1)
    monkeypatch.setattr(emissions, "recorded_events", airflow.answer)
    assert run.task("plan").state == "skipped"
    assert airflow.questions == 2, "one per asset: the events of the run are on the first page"


def test_an_event_that_a_clear_emitted_late_is_found_on_a_later_page(
    world: World, planner: Planner, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.plan(payments="planned", clear_number=0)
    world.leave("payments", *STAGES, published=3, loaded=3)
    airflow, now = Airflow(), datetime.now(UTC)
    for number in range(6_000):
        airflow.add(now + timedelta(seconds=number), emitted("payments"), f"later {number}")
    airflow.add(now + timedelta(days=1), emitted("payments"), RUN)
    planner.plans = lambda: uri
    run = new_run("payments", clear_number=2)
    monkeypatch.setattr(emissions, "recorded_events", airflow.answer)
    assert run.task("plan").state == "skipped"
    airflow.events = [event for event in airflow.events if event.source_run_id != RUN]
    assert run.task("plan", try_number=2).state == "success"
