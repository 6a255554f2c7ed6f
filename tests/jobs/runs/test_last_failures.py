"""A failure that leaves no receipt is in `lakeferry status` and on the page all the same, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connectors.errors import LakeferryError, ObjectNotFound, RunnerFailed, ServiceUnavailable, UsageError
from jobs import plan as plan_entry
from jobs.cli import run
from jobs.reporting.page import leave_summary, write_page
from jobs.reporting.status import DatasetStatus, status_of
from jobs.runs.last_failures import clear_plan_failure, leave_plan_failure
from jobs.runs.plan_document import DatasetPlan, Plan, plan_key
from jobs.runs.receipts import Receipt, Receipts, Stage
from jobs.runs.run_receipts import RunReceipts
from jobs.runs.run_request import Invocation
from jobs.spec.models import DatasetSpec, PipelineSpec
from jobs.spec.reader import load_pipeline
from jobs.stages import loop as stages
from jobs.stages.loop import run_stages
from jobs.stages.plan import planner
from jobs.stages.plan.planner import make_plan
from tests.support.page_world import PageWorld

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.lake.documents import Documents
    from jobs.runs.dataset_run import DatasetRun

AIRFLOW = Invocation(clear_number=0)


class Ran:
    """A pipeline of one dataset, runs of it that are planned, and what its stages do."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = PageWorld.at(folder / "world")
        self.world.pipeline("shop", "orders")
        self.work: dict[str, Callable[[], None]] = {}
        monkeypatch.setattr(stages, "work_of", self._work_of)

    @property
    def spec(self) -> PipelineSpec:
        return load_pipeline(self.world.settings.pipelines, "shop")

    def planned(self, run_id: str = "r", invocation: Invocation = AIRFLOW) -> Plan:
        documents = self.world.documents
        key = plan_key("shop", run_id, 1)
        plan = Plan(
            pipeline="shop",
            run_id=run_id,
            generation=1,
            invocation=invocation,
            created_at="2026-11-23T00:00:00+00:00",
            spec=self.spec,
            datasets=(DatasetPlan(name="orders", generation=1, state="planned", batch=1),),
            uri=documents.uri(key),
        )
        documents.create(key, plan.model_dump_json())
        Receipts(documents).leave(_receipt(run_id, "plan"))
        return plan

    def run(self, plan: Plan) -> int:
        return run_stages(plan.uri, "extract", "load", self.world.settings)

    def fails(self, error: Exception, stage: Stage = "extract") -> None:
        def work() -> None:
            raise error

        self.work[stage] = work

    def status(self) -> DatasetStatus:
        [[found], _] = status_of([self.spec], self.world.settings)
        return found

    def page(self) -> str:
        write_page(self.world.settings)
        return self.world.documents.read("page/index.html")

    def _work_of(self, stage: Stage) -> Callable[[DatasetRun], Receipt | None]:
        def work(run: DatasetRun) -> Receipt | None:
            self.work.get(stage, lambda: None)()
            return run.new_receipt(stage, "done")

        return work


def _receipt(run_id: str, stage: Stage) -> Receipt:
    return Receipt(pipeline="shop", run_id=run_id, generation=1, stage=stage, dataset="orders", verdict="done")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    return Ran(tmp_path, monkeypatch)


def _cannot_be_planned(
    documents: Documents, spec: PipelineSpec, run_id: str, invocation: Invocation | None = None
) -> None:
    """Leave the failure to plan a run, later than every receipt that is there: times of receipts have milliseconds."""
    before = datetime.now(UTC).isoformat(timespec="milliseconds")
    while datetime.now(UTC).isoformat(timespec="milliseconds") == before:
        pass
    assert leave_plan_failure(documents, spec, run_id, [], ServiceUnavailable("the catalog is down"), invocation)


def _shown(status: DatasetStatus) -> tuple[str, int, str | None]:
    return status.result, status.exit_code, status.error


def test_a_mistake_in_the_configuration_is_the_last_result_until_the_run_succeeds(ran: Ran) -> None:
    plan = ran.planned()
    ran.fails(ObjectNotFound("no module nope"))
    assert ran.run(plan) == 2
    said = "pipeline shop dataset orders: no module nope."
    assert _shown(ran.status()) == ("failed", 2, said)
    leave_summary(ran.spec, "r", ran.world.settings)
    page = ran.page()
    assert '<article class="card failed" id="orders">' in page
    assert said in page
    # It is no receipt: all parts that decide by receipts do the work again.
    assert [receipt.stage for receipt in Receipts(ran.world.documents).of_run("shop", "r")] == ["plan"]
    assert not RunReceipts(ran.world.documents, "shop", "r").has(1, "extract", "orders")

    ran.work.clear()
    assert ran.run(plan) == 0
    assert _shown(ran.status()) == ("done", 0, None)
    leave_summary(ran.spec, "r", ran.world.settings)
    assert '<article class="card fine" id="orders">' in ran.page()


@pytest.mark.parametrize("stage", ["extract", "check", "load"])
def test_a_service_that_is_down_fails_a_run_that_nobody_tries_again(ran: Ran, stage: Stage) -> None:
    plan = ran.planned(invocation=Invocation())
    ran.fails(ServiceUnavailable("nothing answers at 10.0.0.1"), stage)
    assert ran.run(plan) == 3
    assert _shown(ran.status()) == ("failed", 3, "pipeline shop dataset orders: nothing answers at 10.0.0.1.")


def test_a_run_of_airflow_goes_on_until_its_tries_are_over(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ran.planned()
    ran.fails(ServiceUnavailable("nothing answers"))
    ran.run(plan)
    said = "extract failed, and Airflow tries again: pipeline shop dataset orders: nothing answers."
    assert _shown(ran.status()) == ("unfinished", 0, said)
    leave_summary(ran.spec, "r", ran.world.settings)
    assert '<article class="card attention" id="orders">' in ran.page()

    # The next try is at work.
    while_at_work: list[DatasetStatus] = []
    ran.work["extract"] = lambda: while_at_work.append(ran.status())
    ran.fails(ServiceUnavailable("nothing answers"), "check")
    ran.run(plan)
    assert [_shown(status) for status in while_at_work] == [("unfinished", 0, None)]
    assert ran.status().error == said.replace("extract", "check")

    # Nobody has tried again for longer than a run may take.
    late = datetime.now(UTC) + timedelta(days=30)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return late

    monkeypatch.setattr("jobs.runs.last_failures.datetime", Later)
    assert _shown(ran.status())[:2] == ("failed", 3)


def test_the_failure_of_an_earlier_run_is_not_that_of_the_last(ran: Ran) -> None:
    ran.fails(ServiceUnavailable("nothing answers"))
    ran.run(ran.planned("earlier"))
    last = ran.planned("last")
    assert _shown(ran.status()) == ("unfinished", 0, None)
    ran.work.clear()
    ran.run(last)
    assert _shown(ran.status()) == ("done", 0, None)


def test_a_later_stage_at_work_does_not_hide_what_failed_before(ran: Ran) -> None:
    plan = ran.planned()
    ran.fails(ObjectNotFound("no module nope"))
    ran.run(plan)
    # Airflow's task load brings what earlier runs have published.
    run_stages(plan.uri, "load", "load", ran.world.settings)
    assert _shown(ran.status())[:2] == ("failed", 2)


def test_a_run_that_could_not_be_planned_has_failed(ran: Ran) -> None:
    ran.run(ran.planned("before"))
    path = ran.world.folder / "pipelines" / "shop.yaml"
    text = path.read_text()
    path.write_text(text.replace("aurora_payments", "nobody_defined_this"))
    with pytest.raises(LakeferryError, match="nobody_defined_this"):
        run.run_pipeline(ran.spec, ran.world.settings, run_id="one")
    result, code, error = _shown(ran.status())
    assert (result, code) == ("failed", 2)
    assert error is not None
    assert "nobody_defined_this" in error
    assert '<article class="card failed" id="orders">' in ran.world.documents.read("page/index.html")
    path.write_text(text)
    ran.planned("two")
    assert _shown(ran.status()) == ("unfinished", 0, None)


def test_the_first_run_of_a_pipeline_that_could_not_be_planned_is_on_the_page(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, value in ran.world.settings.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(value))
    monkeypatch.delenv("AIRFLOW_CONN_AURORA_PAYMENTS", raising=False)
    # That of the local services defines the connection.
    (tmp_path / "settings.env").touch()
    monkeypatch.setenv("LAKEFERRY_SETTINGS_FILE", str(tmp_path / "settings.env"))
    assert plan_entry.main(["--pipeline=shop", "--run-id=one", "--clear-number=0"]) == 64
    assert _shown(ran.status())[:2] == ("failed", 2)
    assert "card failed" in ran.page()


def test_a_plan_that_stands_clears_the_failure_to_plan_its_run(ran: Ran) -> None:
    plan = ran.planned("r")
    _cannot_be_planned(ran.world.documents, ran.spec, "r", AIRFLOW)
    assert _shown(ran.status())[2] == "plan failed, and Airflow tries again: the catalog is down."
    # As the next try of Airflow's task `plan`: the run's plan stands, and the dataset gets no further receipt of it.
    again = make_plan(ran.spec, "r", ran.world.settings, invocation=AIRFLOW)
    assert again.generation == plan.generation == 1
    assert _shown(ran.status()) == ("unfinished", 0, None)
    assert ran.run(again) == 0
    assert _shown(ran.status()) == ("done", 0, None)


def test_a_plan_that_carries_a_dataset_over_clears_its_failure_to_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("shop", "a", "b")
    spec = load_pipeline(world.settings.pipelines, "shop")

    def planned(self: object, dataset: DatasetSpec) -> DatasetPlan:
        generation = self._generation  # type: ignore[attr-defined]
        return DatasetPlan(name=dataset.name, generation=generation, state="planned", batch=1)

    def statuses() -> dict[str, tuple[str, int, str | None]]:
        return {status.dataset: _shown(status) for status in status_of([spec], world.settings)[0]}

    monkeypatch.setattr(planner._Planner, "_plan", planned)
    first = make_plan(spec, "r", world.settings)
    receipts = Receipts(world.documents)
    for dataset, stage in (("a", "extract"), ("a", "check"), ("a", "load"), ("b", "extract")):
        receipts.leave(_receipt("r", stage).model_copy(update={"dataset": dataset}))
    receipts.leave(
        _receipt("r", "check").model_copy(update={"dataset": "b", "verdict": "failed", "exit_code": 1, "error": "bad"})
    )
    _cannot_be_planned(world.documents, spec, "r")
    assert statuses()["a"] == ("failed", 3, "the catalog is down.")
    second = make_plan(spec, "r", world.settings)
    assert [(entry.name, entry.generation) for entry in (*first.datasets, *second.datasets)] == [
        ("a", 1),
        ("b", 1),
        ("a", 1),
        ("b", 2),
    ]
    assert statuses() == {"a": ("done", 0, None), "b": ("unfinished", 0, None)}


def test_a_plan_of_another_run_or_dataset_clears_no_failure(ran: Ran) -> None:
    plan = ran.planned("earlier")
    _cannot_be_planned(ran.world.documents, ran.spec, "last")
    clear_plan_failure(ran.world.documents, plan)
    clear_plan_failure(ran.world.documents, plan.model_copy(update={"run_id": "last", "datasets": ()}))
    # A stage of the earlier run goes on, and says nothing of the run that could not be planned.
    assert ran.run(plan) == 0
    assert _shown(ran.status()) == ("failed", 3, "the catalog is down.")


def test_a_later_receipt_of_the_run_outdates_its_failure_to_plan(ran: Ran) -> None:
    plan = ran.planned("r")
    _cannot_be_planned(ran.world.documents, ran.spec, "r")
    assert ran.run(plan) == 0
    assert _shown(ran.status()) == ("done", 0, None)


def test_a_wrong_argument_is_no_failure_of_the_pipeline(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    ran.run(ran.planned("before"))

    def refused(*_: object, **__: object) -> Plan:
        raise UsageError("the window makes no sense")

    monkeypatch.setattr(run, "make_plan", refused)
    with pytest.raises(UsageError):
        run.run_pipeline(ran.spec, ran.world.settings, run_id="one")
    assert _shown(ran.status()) == ("done", 0, None)


@pytest.mark.parametrize("dies", [True, False])
def test_a_job_that_ends_before_it_comes_to_a_dataset_has_failed_for_it(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    plan = ran.planned("one", Invocation())

    def job(*arguments: object) -> int:
        if dies:
            raise RunnerFailed("the extract job ended with code 137: Killed", fix="Its log is /state/extract.log")
        said = arguments[4]
        assert isinstance(said, list)
        said.append("unexpected KeyError")
        return 3

    monkeypatch.setattr(run, "make_plan", lambda *_, **__: plan)
    monkeypatch.setattr(run, "submit_application", job)
    if dies:
        with pytest.raises(RunnerFailed):
            run.run_pipeline(ran.spec, ran.world.settings, run_id="one")
    else:
        assert run.run_pipeline(ran.spec, ran.world.settings, run_id="one")[0] == 3
    result, code, error = _shown(ran.status())
    assert (result, code) == ("failed", 3)
    assert error is not None
    assert ("Its log is /state/extract.log" if dies else "unexpected KeyError") in error


def _job_that_dies(*_: object) -> int:
    raise RunnerFailed("the extract job ended with code 137: Killed", fix="Its log is /state/extract.log")


@pytest.mark.parametrize("text", ['{"receipt": {"owner": "of a later version"}, "state": "ended"}', "{", "\x00"])
def test_a_document_that_cannot_be_read_is_skipped_with_a_warning(
    ran: Ran, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    plan = ran.planned("one", Invocation())
    assert ran.run(plan) == 0
    ran.world.documents.put("page/failures/shop/orders.json", text.encode(), "application/json")
    assert _shown(ran.status()) == ("done", 0, None)
    said = capsys.readouterr().out
    assert "page/failures/shop/orders.json cannot be read (ValidationError)" in said
    assert "of a later version" not in said
    assert '<article class="card fine" id="orders">' in ran.page()


def test_a_document_that_cannot_be_read_does_not_hide_how_a_job_ended(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ran.planned("one", Invocation())
    ran.world.documents.put("page/failures/shop/orders.json", b"{", "application/json")
    monkeypatch.setattr(run, "make_plan", lambda *_, **__: plan)
    monkeypatch.setattr(run, "submit_application", _job_that_dies)
    with pytest.raises(RunnerFailed, match="code 137: Killed"):
        run.run_pipeline(ran.spec, ran.world.settings, run_id="one")
    # The failure of the run replaces the document.
    assert _shown(ran.status())[:2] == ("failed", 3)


def test_a_lake_that_does_not_answer_does_not_hide_how_a_job_ended(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ran.planned("one", Invocation())

    def down(*_: object) -> None:
        raise ServiceUnavailable("s3 does not answer")

    monkeypatch.setattr(run, "make_plan", lambda *_, **__: plan)
    monkeypatch.setattr(run, "submit_application", _job_that_dies)
    monkeypatch.setattr(run, "last_failures", down)
    with pytest.raises(RunnerFailed, match="code 137: Killed"):
        run.run_pipeline(ran.spec, ran.world.settings, run_id="one")
    assert "lakeferry status may miss the last failure: s3 does not answer." in capsys.readouterr().out


def test_a_run_of_airflow_that_the_command_line_goes_on_with_has_no_further_try(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ran.planned("scheduled", AIRFLOW)
    ran.fails(ServiceUnavailable("nothing answers"))
    ran.run(plan)
    assert _shown(ran.status())[:2] == ("unfinished", 0)

    def refused(*_: object, **__: object) -> Plan:
        raise UsageError("the window makes no sense")

    # A wrong argument leaves the run to Airflow.
    monkeypatch.setattr(run, "make_plan", refused)
    with pytest.raises(UsageError):
        run.run_pipeline(ran.spec, ran.world.settings, run_id="scheduled")
    assert _shown(ran.status())[:2] == ("unfinished", 0)

    monkeypatch.setattr(run, "make_plan", lambda *_, **__: plan)
    monkeypatch.setattr(run, "submit_application", lambda *_: ran.run(plan))
    assert run.run_pipeline(ran.spec, ran.world.settings, run_id="scheduled")[0] == 3
    assert _shown(ran.status()) == ("failed", 3, "pipeline shop dataset orders: nothing answers.")
    assert '<article class="card failed" id="orders">' in ran.world.documents.read("page/index.html")


def test_a_lake_that_takes_no_document_hides_no_failure(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ran.planned()
    ran.fails(ServiceUnavailable("nothing answers"))
    failures = ran.world.folder / "lake" / "page" / "failures"
    failures.parent.mkdir()
    failures.write_text("not a folder")
    assert ran.run(plan) == 3
    shown = capsys.readouterr()
    assert "nothing answers" in shown.err
    assert "lakeferry status may miss the last failure" in shown.out


def test_a_finished_run_that_is_asked_for_again_says_that_it_is_delivered(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ran.planned("one", Invocation())
    assert ran.run(plan) == 0
    capsys.readouterr()
    monkeypatch.setattr(run, "make_plan", lambda *_, **__: plan)
    assert run.run_pipeline(ran.spec, ran.world.settings, run_id="one")[0] == 0
    [said] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"stage": "plan"' in line]
    assert (said["event"], said["batch"]) == ("delivered", 1)
    assert said["reason"].endswith("nothing is moved twice")
