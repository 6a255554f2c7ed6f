"""What a stage's task decides, by the receipts that its job left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.errors import ServiceUnavailable

if TYPE_CHECKING:
    from tests.dags.conftest import NewRun
    from tests.dags.documents import World
    from tests.dags.runner_double import Script


def test_a_job_that_leaves_its_receipts_is_a_success(world: World, script: Script, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(uri := world.plan(payments="planned", merchants="planned"))

    def work() -> None:
        for dataset in ("payments", "merchants"):
            world.leave(dataset, "extract", "check", "load")

    script.then(work)
    assert [run.task(stage).state for stage in ("extract", "check", "load")] == ["success"] * 3
    [job] = script.submitted
    assert (job.stage, job.through, job.plan_uri, job.attempt) == ("extract", "load", uri, 1)


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
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    script.then(lambda: world.leave("payments", "extract"), deferred=True)
    end = run.task("extract")
    assert end.state == "deferred"
    assert run.resume("extract", end, {"job_id": "job-1"}).state == "success"
    assert len(script.submitted) == 1
