"""A run is red if a dataset, a view or a task failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from connectors.errors import ServiceUnavailable
from jobs.reporting.status import status_of
from jobs.runs.last_failures import leave_failure, leave_plan_failure
from jobs.runs.plan_document import load_plan
from jobs.runs.receipts import Receipts
from jobs.runs.run_request import Invocation
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.outcome import RunRecord, view_shortfalls
from tests.support.dags.documents import PIPELINE, RUN, spec_of

if TYPE_CHECKING:
    from jobs.runs.receipts import Verdict
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.runner_double import Script
    from tests.support.dags.task_double import RunDouble

STAGES = ("extract", "check", "load")
VIEW = "mart.sales"


@pytest.fixture
def delivered(world: World, new_run: NewRun) -> RunDouble:
    """A run whose dataset and view were delivered, and whose tasks are green."""
    world.views = (VIEW,)
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", *STAGES)
    world.leave_view(VIEW)
    run.states |= dict.fromkeys((*STAGES, "arrived.payments"), "success")
    return run


def test_a_delivered_run_is_green(delivered: RunDouble) -> None:
    assert delivered.task("verdict").state == "success"


@pytest.mark.parametrize("state", ["skipped", "success", "removed", "upstream_failed", "up_for_retry", None])
def test_a_task_that_did_not_fail_keeps_a_run_green(delivered: RunDouble, state: str) -> None:
    delivered.states["check"] = state
    assert delivered.task("verdict", try_number=2).state == "success"


@pytest.mark.parametrize("task", ["plan", "extract", "check", "load", "arrived.payments", "mapped_3"])
def test_a_task_that_failed_makes_the_run_red_whatever_the_receipts_say(delivered: RunDouble, task: str) -> None:
    delivered.states[task] = "failed"
    end = delivered.task("verdict")
    assert end.state == "failed"
    assert end.message == f"pipeline payments: failed tasks: {task}; their logs say why"


def test_its_own_earlier_failure_does_not_count(delivered: RunDouble) -> None:
    delivered.states["verdict"] = "failed"
    assert delivered.task("verdict", try_number=2).state == "success"


def test_many_failed_tasks_are_named_shortly(delivered: RunDouble) -> None:
    delivered.states |= {f"datasets.t{number:02}": "failed" for number in range(12)}
    message = delivered.task("verdict").message
    assert "datasets.t00, datasets.t01" in message
    assert message.endswith("datasets.t09 and 2 more; their logs say why")


def test_a_failed_dataset_is_named_with_its_error_and_its_tasks(delivered: RunDouble, world: World) -> None:
    delivered.planned(world.plan(generation=2, payments="planned"))
    world.leave("payments", "extract", generation=2)
    world.leave("payments", "check", verdict="failed", code=1, generation=2)
    world.leave_view(VIEW, generation=2)
    delivered.states["check"] = "failed"
    end = delivered.task("verdict")
    assert end.state == "failed"
    assert end.message == (
        "pipeline payments: check of dataset payments failed: amount is negative; failed tasks: check"
    )


def test_a_view_that_failed_makes_the_run_red_although_all_datasets_are_loaded(
    delivered: RunDouble, world: World
) -> None:
    world.leave_view(VIEW, verdict="failed", code=2)
    end = delivered.task("verdict")
    assert end.state == "failed"
    assert "view mart.sales failed: sales.sql: BigQuery refuses it." in end.message


def test_a_view_without_a_receipt_makes_the_run_red(world: World, new_run: NewRun) -> None:
    world.views = (VIEW,)
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", *STAGES)
    end = run.task("verdict")
    assert end.state == "failed"
    assert "view mart.sales left no receipt; the task load says why" in end.message


@pytest.mark.parametrize("verdict", ["done", "skipped"])
def test_a_view_that_waits_for_its_tables_has_not_failed(delivered: RunDouble, world: World, verdict: Verdict) -> None:
    world.leave_view(VIEW, verdict=verdict)
    assert delivered.task("verdict").state == "success"


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_views_are_not_owed_where_nothing_is_loaded(world: World, state: Literal["failed", "skipped"]) -> None:
    world.views = (VIEW,)
    record = RunRecord(world.settings, world.plan(payments=state))
    assert view_shortfalls(record) == []
    assert not record.has_work("load")


@pytest.mark.parametrize(("code", "state"), [(2, "failed"), (3, "up_for_retry")])
def test_load_fails_at_a_view_and_its_retry_makes_the_views_again(
    world: World, script: Script, new_run: NewRun, code: int, state: str
) -> None:
    world.views = (VIEW, "mart.days")
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))

    def all_stages() -> None:
        world.leave("payments", *STAGES)
        world.leave_view("mart.days")
        world.leave_view(VIEW, verdict="failed", code=code)

    def load_again() -> None:
        world.leave_view("mart.days")
        world.leave_view(VIEW, verdict="failed", code=code)

    def load_well() -> None:
        world.leave_view("mart.days")
        world.leave_view(VIEW)

    # As on EMR: one application goes through all stages and ends with a failure, though extract and check are done.
    script.then(all_stages, code=None)
    script.then(load_again, code=code)
    script.then(load_well)
    assert run.task("extract").state == "success"
    assert run.task("check").state == "success"
    end = run.task("load")
    assert end.state == state
    assert end.message == (
        "view mart.sales failed: sales.sql: BigQuery refuses it. "
        "Fix the view, then clear the task plan with downstream: that plans and makes the views again."
    )
    assert run.task("load", try_number=2).state == "success"
    assert [work.stage for work in script.submitted] == ["extract", "load", "load"]
    # A view that was made is not made a third time.
    assert run.task("load", try_number=3).state == "success"
    assert {key for _, _, key in run.xcoms} == {"return_value"}


def test_a_job_that_died_before_its_views_is_tried_again(world: World, script: Script, new_run: NewRun) -> None:
    world.views = (VIEW,)
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", "check")
    script.then(lambda: world.leave("payments", "load"), code=137, details="process 7 was ended by SIGKILL")
    end = run.task("load")
    assert end.state == "up_for_retry"
    assert "left no load receipt for view mart.sales" in end.message


@pytest.mark.parametrize("deferred", [False, True])
def test_a_job_that_died_before_it_made_a_failed_view_again_is_tried_again(
    world: World, script: Script, new_run: NewRun, deferred: bool
) -> None:
    world.views = (VIEW,)
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", *STAGES)
    world.leave_view(VIEW, verdict="failed", code=2)
    script.then(code=137, details="process 7 was ended by SIGKILL", deferred=deferred)
    end = run.task("load")
    if deferred:
        end = run.resume("load", end, {"job_id": "job-1"})
    assert end.state == "up_for_retry"
    assert "process 7 was ended by SIGKILL and left no load receipt for view mart.sales" in end.message


def test_the_last_attempt_at_a_view_counts(world: World) -> None:
    world.views = (VIEW,)
    uri = world.plan(payments="planned")
    world.leave("payments", *STAGES)
    for attempt in range(11):
        world.leave_view(VIEW, verdict="done" if attempt == 10 else "failed", code=2)
    assert view_shortfalls(RunRecord(world.settings, uri)) == []
    assert len(Receipts(world.documents).of_run(PIPELINE, RUN)) == 3 + 11


def test_the_verdict_is_the_only_leaf(world: World) -> None:
    dag = build_dag(spec_of("payments", "merchants"), world.settings)
    assert [task.task_id for task in dag.leaves] == ["verdict"]
    verdict = dag.get_task("verdict")
    assert verdict.get_flat_relative_ids(upstream=True) == set(dag.task_ids) - {"verdict"}


def _status(world: World) -> tuple[str, int, str | None]:
    [[found], _] = status_of([spec_of("payments")], world.settings)
    return found.result, found.exit_code, found.error


def test_a_job_that_left_no_receipt_is_the_last_result_in_the_status(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned", clear_number=0))
    world.leave("payments", "plan", "extract")
    assert _status(world) == ("unfinished", 0, None)
    assert run.task("verdict").state == "failed"
    said = "pipeline payments dataset payments: its job left no receipt. The log of the task check says why;"
    assert _status(world) == ("failed", 3, f"{said} clear it with downstream.")


def test_the_verdict_ends_the_tries_of_a_failure(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    uri = world.plan(payments="planned", clear_number=0)
    run.planned(uri)
    world.leave("payments", "plan")
    plan = load_plan(uri, world.settings)
    down = ServiceUnavailable("nothing answers")
    leave_failure(world.documents, plan, plan.datasets[0], "extract", down)
    assert _status(world)[:2] == ("unfinished", 0)
    assert run.task("verdict").state == "failed"
    assert _status(world) == ("failed", 3, "nothing answers.")


def test_the_verdict_ends_the_tries_of_a_run_that_was_never_planned(world: World, new_run: NewRun) -> None:
    down = ServiceUnavailable("nothing answers")
    leave_plan_failure(world.documents, spec_of("payments"), RUN, (), down, Invocation(clear_number=0))
    said = "plan failed, and Airflow tries again: nothing answers."
    assert _status(world) == ("never run", 0, said)
    assert new_run("payments").task("verdict").state == "failed"
    assert _status(world) == ("failed", 3, "nothing answers.")


def test_trouble_with_what_status_shows_does_not_replace_the_verdict(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a value")

    monkeypatch.setattr("lakeferry_airflow.run_end.end_tries", broken)
    run = new_run("payments")
    run.planned(world.plan(payments="planned", clear_number=0))
    end = run.task("verdict")
    assert end.state == "failed"
    assert "dataset payments" in end.message
    assert "a value" not in end.message


def test_the_verdict_ends_the_tries_of_a_task_that_failed_with_all_receipts_there(
    world: World, new_run: NewRun
) -> None:
    run = new_run("payments")
    uri = world.plan(payments="empty", clear_number=0)
    run.planned(uri)
    plan = load_plan(uri, world.settings)
    world.leave("payments", "plan", verdict="empty")
    # Check of a dataset without anything new still merges what an earlier run left behind, and owes no receipt.
    leave_failure(world.documents, plan, plan.datasets[0], "check", ServiceUnavailable("the catalog does not answer"))
    world.leave("payments", "load", verdict="empty")
    run.states |= {"extract": "success", "check": "failed", "load": "success"}
    said = "check failed, and Airflow tries again: the catalog does not answer."
    assert _status(world) == ("empty", 0, said)
    end = run.task("verdict")
    assert (end.state, "failed tasks: check" in end.message) == ("failed", True)
    assert _status(world) == ("failed", 3, "the catalog does not answer.")
