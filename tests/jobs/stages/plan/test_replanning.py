"""The parts of a run's plan that stand when the run is asked for again, in a lake in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from connectors.base import Window
from connectors.errors import PlanUnreadable, Recovery, UsageError
from jobs.lake.documents import open_documents
from jobs.runs.plan_document import PLAN_FORMAT, DatasetPlan, Failure, Plan, latest_plan, load_plan, plan_key
from jobs.runs.receipts import Receipt, Receipts, Stage, Verdict
from jobs.runs.run_request import Invocation, RunRequest
from jobs.runtime.settings import Settings
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.models import DatasetSpec, PipelineSpec, SourceSpec, ViewSpec
from jobs.stages.plan.frozen_files import PipelineFiles
from jobs.stages.plan.replanning import Standing, delivered, standing_entries

RUN = "scheduled__2026-05-03T00:00:00+00:00"
MAY = Window(start="2026-05-03T00:00:00Z", end="2026-05-04T00:00:00Z")
JUNE = Window(start="2026-06-03T00:00:00Z", end="2026-06-04T00:00:00Z")
FIRST = Invocation(clear_number=0, started_at="2026-05-04T00:00:01+00:00")
CLEARED = Invocation(clear_number=1, started_at="2026-05-09T00:00:01+00:00")
CREATED_AGAIN = Invocation(clear_number=0, started_at="2026-05-09T00:00:01+00:00")
State = Literal["planned", "empty", "failed", "skipped"]


class Run:
    """One run of a pipeline with `payments` and `refunds`, read by a cursor, and `countries`, read whole."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(lake=f"file://{folder}/lake", catalog=f"sqlite:///{folder}/catalog.db")
        self.documents = open_documents(self.settings.lake)
        # A run that has no plan yet.
        self.spec = PipelineSpec.model_construct(pipeline="shop")

    def plan(self, window: Window | None = None, invocation: Invocation = FIRST, **states: State) -> Plan:
        specs = [
            DatasetSpec(
                name=name,
                write_disposition="merge",
                primary_key=["id"],
                bigquery=WarehouseSpec(table=f"shop.{name}"),
                options={"table": f"shop.{name}"} | ({} if name == "countries" else {"cursor": "updated_at"}),
            )
            for name in states
        ]
        self.spec = PipelineSpec(pipeline="shop", source=SourceSpec(type="aurora", connection="c"), datasets=specs)
        key = plan_key("shop", RUN, 1)
        plan = Plan(
            pipeline="shop",
            run_id=RUN,
            generation=1,
            request=RunRequest.of(window, ()),
            invocation=invocation,
            created_at="2026-05-04T00:00:02+00:00",
            spec=self.spec,
            datasets=tuple(
                DatasetPlan(
                    name=name,
                    generation=1,
                    state=state,
                    failure=Failure(error="no table", error_type="ObjectNotFound", exit_code=2)
                    if state == "failed"
                    else None,
                    batch=12,
                    moves_position=window is None,
                )
                for name, state in states.items()
            ),
            uri=self.documents.uri(key),
        )
        self.documents.create(key, plan.model_dump_json())
        return plan

    def leave(self, dataset: str, *stages: Stage, verdict: Verdict = "done", code: int = 0) -> None:
        for stage in stages:
            Receipts(self.documents).leave(
                Receipt(
                    pipeline="shop",
                    run_id=RUN,
                    generation=1,
                    stage=stage,
                    dataset=dataset,
                    verdict=verdict,
                    exit_code=code,
                    batch=12,
                    finished_at="2026-05-04T00:03:00+00:00",
                )
            )

    def asked(
        self,
        window: Window | None = None,
        only: tuple[str, ...] = (),
        invocation: Invocation = FIRST,
        today: PipelineSpec | None = None,
    ) -> Standing:
        """Returns the parts that stand; `today` is the spec of today, by default the plan's."""
        spec = today or self.spec
        files = PipelineFiles(spec, Settings())
        return standing_entries(self.documents, spec, RUN, RunRequest.of(window, only), invocation, files=files)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def _stands(standing: Standing) -> list[str]:
    return [entry.name for entry in standing.entries]


def test_the_first_plan_of_a_run_stands_on_nothing(run: Run) -> None:
    assert run.asked() == Standing(0)


def test_a_retry_gets_the_plan_that_is_there_however_far_it_came(run: Run) -> None:
    for window in (None, MAY):
        plan = run.plan(window, payments="planned", refunds="empty")
        assert run.asked(window).answer == plan
        run.leave("payments", "extract", "check", "load")
        assert run.asked(window).answer == plan
        run.leave("refunds", "load", verdict="empty")
        assert run.asked(window).answer == plan
        (Path(run.settings.lake.removeprefix("file://")) / plan_key("shop", RUN, 1)).unlink()


def test_another_request_gets_nothing_of_the_plan(run: Run) -> None:
    run.plan(MAY, payments="planned")
    run.leave("payments", "extract", "check", "load")
    for standing in (run.asked(), run.asked(JUNE), run.asked(Window(start=MAY.start)), run.asked(MAY, ("payments",))):
        assert (standing.generation, _stands(standing), standing.answer) == (1, [], None)


def test_one_instant_written_in_two_ways_is_one_request(run: Run) -> None:
    plan = run.plan(MAY, payments="planned")
    tokyo = Window(start="2026-05-03T09:00:00+09:00", end="2026-05-04T00:00:00.000+00:00")
    assert run.asked(tokyo).answer == plan
    assert RunRequest(datasets=("a", "b")).is_same_as(RunRequest.of(None, ["b", "a", "b"]))
    assert RunRequest(start="2026-11-20").is_same_as(RunRequest(start="2026-11-20T00:00:00"))
    assert not RunRequest(start="2026-11-20").is_same_as(RunRequest(start="2026-11-20T00:00:00Z"))
    assert not RunRequest(start="1000").is_same_as(RunRequest(start="1000-01-01"))


def test_what_failed_is_planned_again_and_what_is_done_is_not_whoever_asks(run: Run) -> None:
    run.plan(MAY, payments="planned", refunds="planned", countries="failed")
    run.leave("payments", "extract", "check", "load")
    run.leave("refunds", "extract")
    run.leave("refunds", "check", verdict="failed")
    for invocation in (FIRST, CLEARED, Invocation()):
        standing = run.asked(MAY, invocation=invocation)
        assert (_stands(standing), standing.answer) == (["payments"], None)


@pytest.mark.parametrize("invocation", [CLEARED, CREATED_AGAIN])
def test_a_run_that_was_not_finished_goes_on_with_its_plan_when_it_is_cleared(run: Run, invocation: Invocation) -> None:
    plan = run.plan(MAY, payments="planned", refunds="planned")
    run.leave("payments", "extract", "check", "load")
    run.leave("refunds", "extract")
    assert run.asked(MAY, invocation=invocation).answer == plan
    assert delivered(plan, invocation, run.documents) is None


@pytest.mark.parametrize("invocation", [CLEARED, CREATED_AGAIN])
def test_a_window_is_moved_again_when_its_finished_run_is_asked_again(run: Run, invocation: Invocation) -> None:
    run.plan(MAY, payments="planned", countries="skipped")
    run.leave("payments", "extract", "check", "load")
    standing = run.asked(MAY, invocation=invocation)
    assert (standing.generation, _stands(standing), standing.answer) == (1, [], None)


def test_what_moved_the_position_is_not_moved_again_and_says_when_it_was(run: Run) -> None:
    plan = run.plan(payments="planned", refunds="planned")
    for dataset in ("payments", "refunds"):
        run.leave(dataset, "extract", "check", "load")
    standing = run.asked(invocation=CLEARED)
    assert standing.answer == plan
    assert standing.delivered["payments"] == (
        "delivered on 2026-05-04 at 00:03 UTC as batch 12; nothing is moved twice. "
        "To move a past window, ask for it with start and end"
    )
    text = delivered(plan, CLEARED, run.documents)
    assert text is not None
    assert text.startswith("payments: delivered on 2026-05-04 at 00:03 UTC as batch 12")
    assert "refunds: delivered on 2026-05-04" in text
    assert delivered(plan, FIRST, run.documents) is None, "a retry of the task is no question"
    assert delivered(plan, Invocation(), run.documents) is None


def test_what_brought_nothing_or_is_read_whole_is_planned_again_by_a_clear(run: Run) -> None:
    run.plan(payments="planned", refunds="empty", countries="planned")
    for dataset in ("payments", "countries"):
        run.leave(dataset, "extract", "check", "load")
    run.leave("refunds", "load", verdict="empty")
    standing = run.asked(invocation=CLEARED)
    assert (_stands(standing), standing.answer) == (["payments"], None)
    assert list(standing.delivered) == ["payments"]


def test_a_plan_of_an_earlier_version_is_refused_by_name_and_planned_again(run: Run) -> None:
    plan = run.plan(payments="planned")
    key = Path(run.settings.lake.removeprefix("file://")) / plan_key("shop", RUN, 1)
    text = plan.model_dump_json(exclude={"format", "written_by", "request", "invocation"})
    key.write_text(text)
    with pytest.raises(PlanUnreadable, match=r"1\.json has no format number: another version .* reads format 3.*Clear"):
        load_plan(plan.uri, run.settings)
    with pytest.raises(PlanUnreadable):
        latest_plan(run.documents, "shop", RUN)
    standing = run.asked()
    assert (standing.generation, standing.answer) == (1, None)
    key.write_text("{")
    with pytest.raises(PlanUnreadable, match=r"1\.json is not a plan"):
        load_plan(plan.uri, run.settings)


def test_a_plan_of_a_later_version_is_refused_and_not_planned_over(run: Run) -> None:
    plan = run.plan(payments="planned")
    key = Path(run.settings.lake.removeprefix("file://")) / plan_key("shop", RUN, 1)
    key.write_text(plan.model_copy(update={"format": PLAN_FORMAT + 1, "written_by": "9.0"}).model_dump_json())
    for read in (lambda: load_plan(plan.uri, run.settings), run.asked):
        with pytest.raises(UsageError, match=r"has format 4, which lakeferry 9\.0 wrote.*reads format 3.*one version"):
            read()


def test_a_plan_with_keys_of_another_version_names_the_key_and_no_value(run: Run) -> None:
    plan = run.plan(payments="planned")
    key = Path(run.settings.lake.removeprefix("file://")) / plan_key("shop", RUN, 1)
    key.write_text(plan.model_dump_json().replace('"pipeline":"shop",', '"pipeline":"shop","priority":"secret",', 1))
    with pytest.raises(PlanUnreadable, match=r"cannot be read by .*: priority: Extra inputs") as caught:
        load_plan(plan.uri, run.settings)
    assert "secret" not in str(caught.value)


def _with(spec: PipelineSpec, dataset: str, **changes: object) -> PipelineSpec:
    """The spec with some keys of one dataset changed."""
    datasets = [each.model_copy(update=changes) if each.name == dataset else each for each in spec.datasets]
    return spec.model_copy(update={"datasets": datasets})


ASKED_AGAIN = [CLEARED, CREATED_AGAIN, Invocation()]


@pytest.mark.parametrize("invocation", [FIRST, *ASKED_AGAIN])
@pytest.mark.parametrize("change", [{"primary_key": ["id", "region"]}, {"mask": {"phone": "null"}}])
def test_unfinished_work_does_not_go_on_under_another_spec(
    run: Run, invocation: Invocation, change: dict[str, object]
) -> None:
    """Under other keys its rows would be doubled, and under a new mask published as they are."""
    run.plan(MAY, payments="planned", refunds="planned", countries="failed")
    for dataset in ("payments", "refunds"):
        run.leave(dataset, "extract")
    standing = run.asked(MAY, invocation=invocation, today=_with(run.spec, "payments", **change))
    assert (_stands(standing), standing.answer) == (["refunds"], None)


@pytest.mark.parametrize("change", [{"source": SourceSpec(type="tidb", connection="c")}, {"mask_key": "other"}])
def test_unfinished_work_does_not_go_on_from_another_source_or_key(run: Run, change: dict[str, object]) -> None:
    run.plan(MAY, payments="planned", refunds="planned")
    run.leave("payments", "extract", "check", "load")
    standing = run.asked(MAY, invocation=CLEARED, today=run.spec.model_copy(update=change))
    assert (_stands(standing), standing.answer) == (["payments"], None)


@pytest.mark.parametrize("invocation", ASKED_AGAIN)
def test_whoever_asks_once_more_gets_the_spec_of_today(run: Run, invocation: Invocation) -> None:
    run.plan(MAY, payments="planned", refunds="planned")
    run.leave("payments", "extract", "check", "load")
    mended = _with(run.spec, "refunds", options={"table": "shop.refund", "cursor": "updated_at"})
    standing = run.asked(MAY, invocation=invocation, today=mended)
    assert (_stands(standing), standing.answer) == (["payments"], None)


def test_a_retry_keeps_the_plan_with_its_spec(run: Run) -> None:
    plan = run.plan(MAY, payments="planned")
    run.leave("payments", "extract")
    assert run.asked(MAY, today=_with(run.spec, "payments", mask={"phone": "null"})).answer == plan


@pytest.mark.parametrize("invocation", ASKED_AGAIN)
def test_a_view_that_was_mended_is_in_the_next_generation(run: Run, invocation: Invocation) -> None:
    run.plan(MAY, payments="planned")
    run.leave("payments", "extract", "check")
    view = ViewSpec(name="studio.payments", sql="payments.sql")
    standing = run.asked(MAY, invocation=invocation, today=run.spec.model_copy(update={"views": [view]}))
    assert (_stands(standing), standing.answer) == (["payments"], None)


@pytest.mark.parametrize("invocation", ASKED_AGAIN)
def test_an_unfinished_dataset_is_planned_again_if_its_rules_have_changed(
    run: Run, invocation: Invocation, tmp_path: Path
) -> None:
    settings = Settings(expectations=tmp_path)
    (tmp_path / "amounts.yaml").write_text("rows: [expect_column_values_to_not_be_null: {column: id}]")
    plan = run.plan(MAY, payments="planned", refunds="planned", countries="failed")
    spec = _with(_with(run.spec, "payments", expectations="amounts"), "countries", expectations="amounts")
    files = PipelineFiles(spec, settings)
    entries = [
        entry.model_copy(update={"rules": files.rules_of(spec.datasets[0])}) if entry.name == "payments" else entry
        for entry in plan.datasets
    ]
    again = plan.model_copy(update={"spec": spec, "generation": 2, "datasets": tuple(entries)})
    run.documents.create(plan_key("shop", RUN, 2), again.model_dump_json())

    def standing() -> Standing:
        return standing_entries(
            run.documents, spec, RUN, RunRequest.of(MAY, ()), invocation, files=files, moved_only=True
        )

    assert _stands(standing()) == ["payments", "refunds", "countries"]
    (tmp_path / "amounts.yaml").write_text("rows: [expect_column_values_to_be_between: {column: id, min_value: 1}]")
    assert _stands(standing()) == ["refunds", "countries"]
    (tmp_path / "amounts.yaml").unlink()
    assert _stands(standing()) == ["refunds", "countries"]


def test_an_unchanged_spec_goes_on_with_its_plan_whoever_asks(run: Run) -> None:
    plan = run.plan(MAY, payments="planned")
    run.leave("payments", "extract")
    for invocation in (FIRST, *ASKED_AGAIN):
        assert run.asked(MAY, invocation=invocation).answer == plan


@pytest.mark.parametrize(
    ("recovery", "code", "stands"),
    [("plan_again", 3, []), ("retry", 3, ["payments"]), ("look_at_data", 1, ["payments"]), (None, 3, ["payments"])],
)
def test_what_moved_while_it_was_planned_is_planned_again(
    run: Run, recovery: Recovery | None, code: int, stands: list[str]
) -> None:
    """The source's snapshot may be collected while slices are planned."""
    plan = run.plan(payments="failed")
    failure = Failure(error="it moved", error_type="SourceMoved", exit_code=code, recovery=recovery)
    [entry] = plan.datasets
    again = plan.model_copy(update={"generation": 2, "datasets": (entry.model_copy(update={"failure": failure}),)})
    run.documents.create(plan_key("shop", RUN, 2), again.model_dump_json())
    files = PipelineFiles(run.spec, Settings())
    standing = standing_entries(run.documents, run.spec, RUN, RunRequest(), FIRST, files=files, moved_only=True)
    assert _stands(standing) == stands


def test_of_failures_a_stage_plans_only_those_again_under_which_something_moved(run: Run) -> None:
    run.plan(payments="planned", refunds="planned", countries="failed")
    run.leave("payments", "extract")
    run.leave("payments", "check", verdict="failed", code=1)
    run.leave("refunds", "extract", verdict="failed", code=3)
    standing = standing_entries(
        run.documents, run.spec, RUN, RunRequest(), FIRST, files=PipelineFiles(run.spec, Settings()), moved_only=True
    )
    assert (_stands(standing), standing.answer) == (["payments", "countries"], None)


def test_of_plans_that_failed_only_those_of_a_stage_are_made_again_by_a_stage(run: Run) -> None:
    plan = run.plan(payments="failed", refunds="failed")
    assert plan.generation == 1
    again = plan.model_copy(
        update={
            "generation": 2,
            "datasets": tuple(
                entry.model_copy(
                    update={"generation": 2, "failure": Failure(error="e", error_type="E", exit_code=code)}
                )
                for entry, code in zip(plan.datasets, (3, 2), strict=True)
            ),
        }
    )
    first = standing_entries(
        run.documents, run.spec, RUN, RunRequest(), FIRST, files=PipelineFiles(run.spec, Settings()), moved_only=True
    )
    assert _stands(first) == ["payments", "refunds"]
    run.documents.create(plan_key("shop", RUN, 2), again.model_dump_json())
    second = standing_entries(
        run.documents, run.spec, RUN, RunRequest(), FIRST, files=PipelineFiles(run.spec, Settings()), moved_only=True
    )
    assert _stands(second) == ["refunds"]
