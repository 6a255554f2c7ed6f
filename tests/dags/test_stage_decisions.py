"""The decisions of a stage's task, by the receipts that its job left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connectors.errors import ServiceUnavailable

if TYPE_CHECKING:
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.plan_double import Planner
    from tests.support.dags.runner_double import Script

STAGES = ("extract", "check", "load")


def test_a_job_that_leaves_its_receipts_is_a_success(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(uri := world.plan(payments="planned", merchants="planned"))

    def work() -> None:
        for dataset in ("payments", "merchants"):
            world.leave(dataset, *STAGES)

    script.then(work)
    # The application of extract went through to load: the later tasks start nothing.
    assert [run.task(stage).state for stage in STAGES] == ["success"] * 3
    [job] = script.submitted
    assert (job.stage, job.through, job.plan_uri, job.attempt) == ("extract", "load", uri, 1)


def test_a_runner_that_goes_less_far_gets_a_job_per_stage(world: World, script: Script, new_run: NewRun) -> None:
    script.goes_through("check")
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(lambda: world.leave("payments", "extract", "check"))
    script.then(lambda: world.leave("payments", "load"))
    assert [run.task(stage).state for stage in STAGES] == ["success"] * 3
    assert [(job.stage, job.through) for job in script.submitted] == [("extract", "check"), ("load", None)]


def test_a_success_that_left_no_receipt_is_tried_again(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    script.then(lambda: world.leave("merchants", "extract"), details="job 7 ended as SUCCESS")
    end = run.task("extract")
    assert end.state == "up_for_retry"
    assert "job 7 ended as SUCCESS and left no extract receipt for payments" in end.message
    # The next try is asked for what is missing, and its job finds what is there by itself.
    script.then(lambda: world.leave("payments", "extract"))
    assert run.task("extract", try_number=2).state == "success"
    assert [job.attempt for job in script.submitted] == [1, 2]


@pytest.mark.parametrize("code", [-9, 52, 137, None], ids=str)
def test_a_dead_job_is_tried_again(world: World, script: Script, new_run: NewRun, code: int | None) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(code=code, details="process 7 was ended by SIGKILL")
    end = run.task("extract")
    assert end.state == "up_for_retry"
    assert "process 7 was ended by SIGKILL and left no extract receipt for payments" in end.message


def test_a_job_that_dies_after_its_last_receipt_is_a_success(world: World, script: Script, new_run: NewRun) -> None:
    script.goes_through("extract")
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(lambda: world.leave("payments", "extract"), code=137)
    assert run.task("extract").state == "success"


def test_a_retry_that_finds_all_receipts_starts_nothing(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", *STAGES)
    assert [run.task(stage, try_number=2).state for stage in STAGES] == ["success"] * 3
    assert script.submitted == []


@pytest.mark.parametrize(("finishes", "state"), [(True, "success"), (False, "up_for_retry")])
def test_a_job_of_an_earlier_try_counts_by_its_receipts(
    world: World, script: Script, new_run: NewRun, finishes: bool, state: str
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    # Only the parent of a process can know its exit code: the runner says that it ended, and no more.
    script.then(
        lambda: world.leave("payments", "extract") if finishes else None,
        known=False,
        details="process 7 of an earlier try ended",
    )
    assert run.task("extract", try_number=2).state == state


def test_data_that_fails_is_not_tried_again(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    world.leave("payments", "extract")
    world.leave("merchants", "extract")

    def work() -> None:
        world.leave("payments", "check", verdict="failed", code=1)
        world.leave("merchants", "check", "load")

    script.then(work, code=1)
    end = run.task("check")
    assert end.state == "failed"
    assert "check of dataset payments failed: amount is negative" in end.message
    assert "clear the task plan with downstream" in end.message
    # Load also brings what earlier runs published, so it looks; it owes no receipt of the dataset that failed.
    script.then()
    assert run.task("load").state == "success"
    assert [job.stage for job in script.submitted] == ["check", "load"]


@pytest.mark.services
@pytest.mark.parametrize("stage", ["extract", "check"])
def test_a_failure_of_a_service_is_planned_again_at_the_next_try(
    world: World, script: Script, new_run: NewRun, planner: Planner, stage: str
) -> None:
    run = new_run("payments")
    run.planned(first := world.plan(payments="planned"))

    def fails() -> None:
        if stage == "check":
            world.leave("payments", "extract")
        world.leave("payments", stage, verdict="failed", code=3)  # type: ignore[arg-type]

    if stage == "check":
        world.leave("payments", "extract")
    script.then(fails, code=3)
    assert run.task(stage).state == "up_for_retry"
    # Another run published first, or the source has collected the snapshot: the same plan would fail again.
    planner.plans = lambda: world.plan(generation=2, payments="planned")
    script.then(lambda: world.leave("payments", *STAGES, generation=2))
    end = run.task(stage, try_number=2)
    assert end.state == "success", end.message
    assert len(planner.requests) == 1
    assert [job.plan_uri == first for job in script.submitted] == [True, False]
    # The new generation begins at the first stage, whichever stage's task asks for it.
    assert (script.submitted[1].stage, script.submitted[1].through) == ("extract", "load")


@pytest.mark.services
def test_a_job_of_the_next_generation_that_died_early_is_followed_from_where_it_died(
    world: World, script: Script, new_run: NewRun, planner: Planner
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict="failed", code=3)
    planner.plans = lambda: world.plan(generation=2, payments="planned")
    script.then(code=137, details="the job was killed")
    assert run.task("check", try_number=2).state == "up_for_retry"
    script.then(lambda: world.leave("payments", *STAGES, generation=2))
    assert run.task("check", try_number=3).state == "success"
    assert [(job.stage, job.plan_uri.rsplit("/", 1)[1]) for job in script.submitted] == [("extract", "2.json")] * 2


@pytest.mark.services
def test_data_that_failed_stays_failed_where_another_dataset_is_planned_again(
    world: World, script: Script, new_run: NewRun, planner: Planner
) -> None:
    """Its task is red by then, and must not be while its dataset is delivered after all."""
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    for dataset in ("payments", "merchants"):
        world.leave(dataset, "extract")
    world.leave("payments", "check", verdict="failed", code=1)
    world.leave("merchants", "check", verdict="failed", code=3)
    planner.plans = lambda: world.plan(generation=2, carried=("payments",), payments="planned", merchants="planned")
    script.then(lambda: world.leave("merchants", *STAGES, generation=2))
    end = run.task("check", try_number=2)
    assert (end.state, "check of dataset payments failed" in end.message) == ("failed", True)
    assert [request["moved_only"] for request in planner.requests] == [True]


@pytest.mark.services
def test_what_could_not_be_planned_again_for_now_is_planned_at_the_next_try(
    world: World, script: Script, new_run: NewRun, planner: Planner
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    for dataset in ("payments", "merchants"):
        world.leave(dataset, "extract")
        world.leave(dataset, "check", verdict="failed", code=3)
    planner.plans = lambda: world.plan(
        generation=2, exit_code=3, error="nothing answers", payments="planned", merchants="failed"
    )
    script.then(lambda: world.leave("payments", *STAGES, generation=2))
    end = run.task("check", try_number=2)
    assert (end.state, end.message) == ("up_for_retry", "nothing answers")
    planner.plans = lambda: world.plan(generation=3, carried=("payments",), payments="planned", merchants="planned")
    script.then(lambda: world.leave("merchants", *STAGES, generation=3))
    assert run.task("check", try_number=3).state == "success"
    assert run.task("load").state == "success"


def test_a_stage_that_failed_and_that_another_dataset_did_not_reach_is_red(
    world: World, script: Script, new_run: NewRun
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict="failed", code=1)
    end = run.task("check")
    assert (end.state, "check of dataset payments failed: amount is negative" in end.message) == ("failed", True)
    assert script.submitted == []


@pytest.mark.services
def test_planning_again_for_another_dataset_keeps_what_is_done(
    world: World, script: Script, new_run: NewRun, planner: Planner
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    world.leave("merchants", *STAGES)
    world.leave("payments", "extract", verdict="failed", code=3)
    planner.plans = lambda: world.plan(generation=2, carried=("merchants",), payments="planned", merchants="planned")
    script.then(lambda: world.leave("payments", *STAGES, generation=2))
    assert run.task("extract", try_number=2).state == "success"
    assert run.task("load").state == "success"
    assert len(script.submitted) == 1


@pytest.mark.services
def test_planning_again_that_fails_leaves_the_task_for_the_next_try(
    world: World, script: Script, new_run: NewRun, planner: Planner
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", verdict="failed", code=3)
    planner.fails("aurora_payments does not answer", code=3)
    end = run.task("extract", try_number=2)
    assert end.state == "up_for_retry"
    assert "aurora_payments does not answer" in end.message
    assert script.submitted == []


def test_a_job_that_cannot_be_submitted_for_now_is_tried_again(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(refusal=ServiceUnavailable("EMR does not answer"))
    script.then(lambda: world.leave("payments", "extract"))
    end = run.task("extract")
    assert (end.state, end.message) == ("up_for_retry", "EMR does not answer.")
    assert run.task("extract", try_number=2).state == "success"
    assert [job.attempt for job in script.submitted] == [1, 2]


def test_a_deferred_stage_goes_on_by_the_receipts(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))
    script.then(lambda: world.leave("payments", "extract"), deferred=True)
    end = run.task("extract")
    assert end.state == "deferred"
    end = run.resume("extract", end, {"job_id": "job-1"})
    assert end.state == "up_for_retry"
    assert "left no extract receipt for merchants" in end.message
    script.then(lambda: world.leave("merchants", "extract"), deferred=True)
    end = run.task("extract", try_number=2)
    assert run.resume("extract", end, {"job_id": "job-2"}, try_number=2).state == "success"
    assert len(script.submitted) == 2


def test_a_stage_that_no_dataset_reached_is_skipped(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="failed"))
    world.leave("payments", "extract", verdict="failed", code=1)
    assert run.task("extract").state == "failed"
    end = run.task("check")
    assert (end.state, end.message) == ("skipped", "no dataset came as far as check")
    assert script.submitted == []


@pytest.mark.parametrize("planned", [False, True], ids=["no plan", "no dataset planned"])
def test_without_a_plan_the_stages_are_skipped(world: World, script: Script, new_run: NewRun, planned: bool) -> None:
    run = new_run("payments")
    if planned:
        run.planned(world.plan(payments="failed"))
    assert [run.task(stage).state for stage in STAGES] == ["skipped"] * 3
    assert script.submitted == []


def test_an_empty_dataset_is_loaded_and_nothing_else(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="empty"))
    script.then(lambda: world.leave("payments", "load", verdict="empty"))
    assert [run.task(stage).state for stage in STAGES] == ["success"] * 3
    assert [job.stage for job in script.submitted] == ["load"]


def test_secrets_go_only_to_a_runner_that_needs_them(
    world: World, script: Script, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AURORA_PAYMENTS", "mysql://reader:sesame@db/shop")
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(lambda: world.leave("payments", "extract"))
    script.then(lambda: world.leave("payments", "check"))
    run.task("extract")
    script.gives_connections()
    run.task("check")
    without, having = script.submitted
    assert dict(without.connections) == {}
    assert "sesame" in having.connections["AIRFLOW_CONN_AURORA_PAYMENTS"]
    assert "sesame" not in repr(having)
