"""The decisions of the task `plan`, by the output of its child process and by the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from connectors.errors import SettingError
from jobs.launch import commands as submit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.plan_double import Planner

pytestmark = pytest.mark.services

CRASHES = [1, 2, 120]
"""Exit codes of Python and its shutdown where nothing was decided."""


def test_the_address_of_the_plan_is_the_result(world: World, new_run: NewRun, planner: Planner) -> None:
    run = new_run("payments", "merchants")
    planner.plans = lambda: world.plan(payments="planned", merchants="empty")
    end = run.task("plan")
    assert end.state == "success"
    assert run.xcom("plan") == f"{world.settings.lake}/plans/payments/manual__2026-11-23T00=3A00=3A00=2B00=3A00/1.json"


@pytest.mark.parametrize(("code", "state"), [(1, "failed"), (2, "failed"), (3, "up_for_retry")])
def test_datasets_that_cannot_be_planned_fail_the_task_and_leave_the_plan_to_the_others(
    world: World, new_run: NewRun, planner: Planner, code: int, state: str
) -> None:
    run = new_run("payments", "merchants")
    planner.plans = lambda: world.plan(payments="planned", merchants="failed", exit_code=code, error="no table x")
    end = run.task("plan")
    assert (end.state, "no table x" in end.message) == (state, True)
    assert str(run.xcom("plan")).endswith("/1.json")


def test_one_service_that_is_down_has_all_failures_tried_again(world: World, new_run: NewRun, planner: Planner) -> None:
    run = new_run("payments", "merchants")
    planner.plans = lambda: world.plan(payments="failed", merchants="failed", exit_code=3, error="db does not answer")
    end = run.task("plan")
    assert end.state == "up_for_retry"
    assert end.message.count("db does not answer") == 1


@pytest.mark.parametrize(("code", "state"), [(64, "failed"), (65, "failed"), (75, "up_for_retry")])
def test_without_a_plan_the_exit_code_says_whether_to_try_again(
    new_run: NewRun, planner: Planner, code: int, state: str
) -> None:
    run = new_run("payments")
    planner.fails("payments.yaml:4 table shop.payments is not there. Did you mean shop.payment?", code=code)
    end = run.task("plan")
    assert end.state == state
    assert "Did you mean shop.payment?" in end.message
    assert run.xcom("plan") is None


@pytest.mark.parametrize("code", CRASHES)
def test_a_crash_that_decided_nothing_is_tried_again(new_run: NewRun, planner: Planner, code: int) -> None:
    run = new_run("payments")
    planner.says("MemoryError", code=code)
    end = run.task("plan")
    assert end.state == "up_for_retry"
    assert "MemoryError" in end.message


def test_a_planner_that_is_killed_is_tried_again(new_run: NewRun, planner: Planner) -> None:
    run = new_run("payments")
    planner.dies(9)
    assert run.task("plan").state == "up_for_retry"


def test_a_success_that_names_no_plan_is_tried_again(new_run: NewRun, planner: Planner) -> None:
    run = new_run("payments")
    planner.says("nothing to see")
    end = run.task("plan")
    assert end.state == "up_for_retry"
    assert "named no plan" in end.message


def test_a_window_and_a_choice_reach_the_planner(world: World, new_run: NewRun, planner: Planner) -> None:
    conf = {"start": "2026-11-20T09:00:00+09:00", "end": "2026-11-21T00:00:00Z", "datasets": ["merchants"]}
    run = new_run("payments", "merchants", conf=conf)
    planner.plans = lambda: world.plan(merchants="planned")
    assert run.task("plan").state == "success"
    [asked] = planner.requests
    assert (asked["start"], asked["end"], asked["datasets"]) == (
        "2026-11-20T00:00:00Z",
        "2026-11-21T00:00:00Z",
        ("merchants",),
    )


def test_a_backfill_asks_for_its_interval_and_a_scheduled_run_for_none(
    world: World, new_run: NewRun, planner: Planner
) -> None:
    interval = (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    planner.plans = lambda: world.plan(payments="planned")
    for run_type in ("backfill", "scheduled"):
        new_run("payments", run_type=run_type, interval=interval).task("plan")
    assert [(asked["start"], asked["end"]) for asked in planner.requests] == [
        ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
        (None, None),
    ]


def test_a_dataset_of_an_old_conf_that_the_spec_has_no_more_is_refused_by_us(new_run: NewRun, planner: Planner) -> None:
    """Airflow keeps a run's conf for ever: a cleared run asks for what the form offered on its day."""
    run = new_run("payments", conf={"datasets": ["payments", "merchants"]})
    end = run.task("plan")
    assert end.state == "failed"
    assert "merchants" in end.message
    assert planner.requests == []


def test_planning_needs_no_java_and_no_spark(
    world: World, new_run: NewRun, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Airflow whose stages run on EMR has neither."""

    def none_here() -> Path:
        raise SettingError("no Java found")

    monkeypatch.setattr(submit, "java_home", none_here)
    monkeypatch.setattr(submit, "spark_home", none_here)
    run = new_run("payments")
    planner.plans = lambda: world.plan(payments="planned")
    end = run.task("plan")
    assert end.state == "success", end.message


def test_what_planning_prints_shows_no_credentials(world: World, new_run: NewRun, planner: Planner) -> None:
    """A library may print the request that it signed, and the last line is the error of the task."""
    planner.says("x-amz-security-token:IQoJb3JpZ2luX2VjEXAMPLE", code=70)
    end = new_run("payments").task("plan")
    assert "x-amz-security-token:[removed]" in end.message
    assert "IQoJ" not in end.message
