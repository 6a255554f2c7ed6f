"""The task of a dataset: its state, log and assets, by the plan and the receipts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowRescheduleException

from jobs.runs.plan_document import plan_key
from jobs.runtime.settings import Settings
from lakeferry_airflow import dataset_tasks, emissions, patience
from lakeferry_airflow.dataset_group import MOST_TASKS
from lakeferry_airflow.receipt_trigger import ReceiptTrigger
from tests.support.dags.documents import PIPELINE, RUN
from tests.support.dags.task_double import RunDouble

if TYPE_CHECKING:
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World

LAKE, BIGQUERY = "x-lakeferry://lake/payments", "bigquery://lakeferry-local/shop/payments"
MANY = [f"d{number:03}" for number in range(MOST_TASKS + 1)]


def extras(run: RunDouble) -> dict[str, dict[str, Any]]:
    """The events that the task's last try makes in Airflow, as its task runner sends them: extra by URI."""
    context = run.contexts[-1]
    events = context["outlet_events"]
    sent = {asset.uri for asset in context["task"].outlets if hasattr(asset, "uri")}
    direct = {asset.uri: events[asset].extra for asset in events if getattr(asset, "uri", None) in sent}
    for key in events:
        direct |= {event.dest_asset_key.uri: event.extra for event in events[key].asset_alias_events}
    assert sent <= set(direct)
    return direct


def test_a_dataset_waits_in_the_triggerer_until_it_is_delivered(world: World, new_run: NewRun) -> None:
    run = new_run("payments", "merchants")
    run.planned(uri := world.plan(payments="planned", merchants="planned"))
    world.leave("payments", "extract")
    end = run.task("datasets.payments")
    assert end.deferred is not None
    trigger = end.deferred.trigger
    assert trigger.serialize() == (
        "lakeferry_airflow.receipt_trigger.ReceiptTrigger",
        {
            "run": {
                "lake": world.settings.lake,
                "pipeline": "payments",
                "dag_id": "payments",
                "run_id": RUN,
                "stages": ["extract", "check", "load"],
            },
            "generations": {"payments": 1},
            "interval_seconds": 5.0,
            "logged_until": None,
        },
    )
    world.leave("payments", "check", published=2)
    world.leave("payments", "load", loaded=2)
    end = run.resume("datasets.payments", end, {"why": "the last receipt is there"})
    assert (end.state, end.value["published"], end.value["loaded"]) == ("success", 2, 2)
    assert run.contexts[-1]["task"].plan_uri == uri


def test_a_wait_that_takes_longer_than_a_run_may_ends_and_names_the_limit(world: World, new_run: NewRun) -> None:
    assert run_of(new_run, hours=23).dag.dagrun_timeout == timedelta(hours=24)
    run = run_of(new_run, hours=24)
    run.planned(world.plan(payments="planned"))
    end = run.time_out("datasets.payments")
    assert end.state == "up_for_retry"
    assert "wait for dataset payments was stopped after 24 h" in end.message
    assert "RUN_TIMEOUT" in end.message


def run_of(new_run: NewRun, **ago: float) -> RunDouble:
    """A run that began so long ago, whose stage extract works."""
    return new_run("payments", started_at=datetime.now(UTC) - timedelta(**ago), states={"extract": "running"})


@pytest.mark.parametrize(("minutes", "wait"), [(1, 10), (10, 10), (40, 40), (23 * 60, 60)])
def test_while_the_stages_work_a_task_waits_for_twice_as_long_each_time(
    world: World, new_run: NewRun, minutes: int, wait: int
) -> None:
    """Whether or not a triggerer runs: the scheduler resumes it, and that costs a long run a few looks."""
    run = run_of(new_run, minutes=minutes)
    run.planned(world.plan(payments="planned"))
    end = run.task("datasets.payments")
    assert (end.deferred and end.deferred.timeout) == timedelta(minutes=10)
    world.leave("payments", "extract")
    end = run.time_out("datasets.payments")
    assert end.deferred is not None
    assert end.deferred.timeout is not None
    assert abs(end.deferred.timeout - timedelta(minutes=wait)) < timedelta(seconds=30)
    # The trigger of the first wait has logged it, if one ran.
    assert end.deferred.trigger.serialize()[1]["logged_until"] is not None


@pytest.mark.parametrize(("minutes_ago", "warned"), [(9, True), (0, False)])
def test_without_a_triggerer_a_delivered_dataset_is_late_and_says_why(
    world: World,
    new_run: NewRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    minutes_ago: int,
    warned: bool,
) -> None:
    """A receipt that came just now is no proof: the triggerer may be about to fire."""
    run = run_of(new_run, minutes=10)
    run.planned(world.plan(payments="planned"))
    run.task("datasets.payments")
    world.leave("payments", "extract", "check", "load", published=2, loaded=2)
    later = datetime.now(UTC) + timedelta(minutes=minutes_ago)
    monkeypatch.setattr(
        patience, "datetime", SimpleNamespace(now=lambda zone: later, fromisoformat=datetime.fromisoformat)
    )
    end = run.time_out("datasets.payments")
    assert (end.state, end.value["loaded"]) == ("success", 2)
    said = capsys.readouterr().out
    assert ("no triggerer resumed this task" in said) == warned
    assert ("LAKEFERRY_TRIGGERER=false" in said) == warned


def test_without_a_triggerer_a_dataset_that_no_stage_can_bring_any_more_is_red(world: World, new_run: NewRun) -> None:
    run = run_of(new_run, minutes=10)
    run.planned(world.plan(payments="planned"))
    run.states |= {"extract": "failed", "check": "skipped", "load": "skipped"}
    end = run.time_out("datasets.payments")
    assert end.state == "failed"
    assert "extract of dataset payments left no receipt" in end.message


def test_a_receipt_that_comes_while_a_task_asks_for_the_states_counts(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(new_run, minutes=10)
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", "check", published=2)
    run.states |= {"extract": "success", "check": "success", "load": "running"}
    assert run.task("datasets.payments").state == "deferred"
    ended = dataset_tasks._stages_ended

    def load_ends(*arguments: Any) -> bool:
        world.leave("payments", "load", loaded=2)
        run.states["load"] = "success"
        return ended(*arguments)

    monkeypatch.setattr(dataset_tasks, "_stages_ended", load_ends)
    end = run.time_out("datasets.payments")
    assert (end.state, end.value["loaded"]) == ("success", 2)


def test_the_events_of_a_delivery_say_what_it_was(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", "check", "load", published=2, loaded=2)
    assert run.task("datasets.payments").state == "success"
    extra = {
        "run": RUN,
        "generation": 1,
        "batch": None,
        "rows": 2,
        "window_start": None,
        "window_end": None,
        "snapshot": None,
    }
    assert extras(run) == {LAKE: extra, BIGQUERY: extra}


@pytest.mark.parametrize(("emitted_generation", "events"), [(1, 0), (2, 2)])
def test_a_cleared_task_repeats_no_event(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, emitted_generation: int, events: int
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", "check", "load", published=2, loaded=2)
    stand = [
        SimpleNamespace(
            asset=SimpleNamespace(uri=uri),
            extra={"generation": emitted_generation},
            source_dag_id="payments",
            source_run_id=RUN,
        )
        for uri in (LAKE, BIGQUERY)
    ]
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: stand)
    assert run.task("datasets.payments", try_number=2).state == "success"
    assert len(extras(run)) == events


def test_the_events_of_other_runs_are_not_this_ones(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract", "check", "load", published=2, loaded=2)
    other = SimpleNamespace(
        asset=SimpleNamespace(uri=LAKE), extra=None, source_dag_id="payments", source_run_id="another"
    )
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: [other])
    run.task("datasets.payments", try_number=2)
    assert set(extras(run)) == {LAKE, BIGQUERY}


def test_a_failure_begins_with_how_to_retry_it(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict="failed", code=1)
    end = run.task("datasets.payments")
    assert end.state == "failed"
    assert end.message.splitlines() == [
        "To retry dataset payments, clear the task plan with downstream: only what failed is planned again.",
        "check of dataset payments failed: amount is negative",
    ]
    assert run.xcom("datasets.payments")["state"] == "failed"


def test_a_dataset_that_no_plan_holds_is_red_as_it_was_asked_for(new_run: NewRun) -> None:
    run = new_run("payments")
    run.states["plan"] = "failed"
    end = run.task("datasets.payments")
    assert end.state == "failed"
    assert end.message.splitlines() == [
        "To retry dataset payments, clear the task plan with downstream: only what failed is planned again.",
        "Nothing was planned, so nothing was moved; the task plan says why",
    ]


def test_a_dataset_that_could_not_be_planned_is_red_at_once(world: World, new_run: NewRun) -> None:
    run = new_run("payments", "gone")
    run.planned(world.plan(payments="planned", gone="failed"))
    end = run.task("datasets.gone")
    assert end.state == "failed"
    assert end.message.splitlines()[1] == "plan of dataset gone failed: no table"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("other", "it was not asked for"),
        ("skipped", "it was skipped: it has no cursor"),
        ("empty", "nothing new"),
        ("superseded", "another run published the same rows first"),
        ("quarantined", "no new row was published: 0 of 0 rows are in quarantine"),
    ],
)
def test_only_what_had_nothing_to_deliver_is_pink(world: World, new_run: NewRun, case: str, reason: str) -> None:
    run = new_run("payments", "merchants")
    if case == "other":
        run.planned(world.plan(merchants="planned"))
    elif case in ("skipped", "empty"):
        run.planned(world.plan(payments=case, merchants="planned"))  # type: ignore[arg-type]
        if case == "empty":
            world.leave("payments", "load", verdict="empty")
    else:
        run.planned(world.plan(payments="planned"))
        world.leave("payments", "extract")
        if case == "superseded":
            world.leave("payments", "check", verdict="superseded")
        else:
            world.leave("payments", "check", "load", published=0, loaded=0)
    end = run.task("datasets.payments")
    assert (end.state, end.message) == ("skipped", f"dataset payments: {reason}")


def test_what_an_earlier_run_published_is_delivered_by_the_load_that_brings_it(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="empty"))
    world.leave("payments", "load", loaded=3)
    assert run.task("datasets.payments").state == "success"
    assert set(extras(run)) == {LAKE, BIGQUERY}


def test_without_a_triggerer_the_datasets_come_after_load_and_wait_for_nothing(world: World, new_run: NewRun) -> None:
    world.settings = Settings.model_validate({**world.settings.model_dump(), "triggerer": False})
    run = new_run("payments")
    task = run.dag.get_task("datasets.payments")
    assert task.trigger_rule == TriggerRule.ALL_DONE
    run.planned(world.plan(payments="planned"))
    end = run.task("datasets.payments")
    assert end.state == "failed"
    assert end.message.splitlines()[1] == "extract of dataset payments left no receipt; the task extract says why"


def test_a_task_that_ended_or_deferred_has_links_that_need_no_lake(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in production: no stand-in for BigQuery.
    monkeypatch.setenv("LAKEFERRY_WAREHOUSE_ENDPOINT", "")
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    assert run.task("datasets.payments").state == "deferred"
    task: Any = run.contexts[-1]["task"]
    links = {link.name: link.get_link(task, ti_key=run.contexts[-1]["ti"]) for link in task.operator_extra_links}  # type: ignore[arg-type]
    lake = world.settings.lake
    assert links == {
        "Status page": f"{lake}/page/index.html",
        "Receipts": f"{lake}/receipts/payments/manual__2026-11-23T00%3D3A00%3D3A00%3D2B00%3D3A00/",
        "Data Docs": "",
        "BigQuery table": "https://console.cloud.google.com/bigquery?referrer=search&project=lakeferry-local&d=shop"
        "&p=lakeferry-local&page=table&t=payments",
    }


def test_more_datasets_than_a_person_reads_are_one_task_with_a_table(world: World, new_run: NewRun) -> None:
    run = new_run(*MANY)
    assert set(run.dag.task_ids) == {"plan", "extract", "check", "load", "datasets", "verdict"}
    run.planned(world.plan(d000="planned", d001="planned", d002="failed", d003="empty"))
    for dataset in ("d000", "d001"):
        world.leave(dataset, "extract", "check", published=2)
    end = run.task("datasets")
    assert end.deferred is not None
    assert end.deferred.trigger.serialize()[1]["generations"] == {"d000": 1, "d001": 1, "d003": 1}
    for dataset in ("d000", "d001"):
        world.leave(dataset, "load", loaded=2)
    world.leave("d003", "load", verdict="empty")
    end = run.resume("datasets", end, {"why": "the last receipt is there"})
    assert end.state == "success"
    assert [(row["dataset"], row["state"], row["loaded"]) for row in end.value[:5]] == [
        ("d000", "delivered", 2),
        ("d001", "delivered", 2),
        ("d002", "failed", None),
        ("d003", "nothing", None),
        ("d004", "nothing", None),
    ]
    assert set(extras(run)) == {
        f"{where}/{dataset}"
        for where in ("x-lakeferry://lake", "bigquery://lakeferry-local/shop")
        for dataset in ("d000", "d001")
    }


def test_a_table_in_which_nothing_was_delivered_is_red_or_pink(world: World, new_run: NewRun) -> None:
    run = new_run(*MANY)
    run.planned(world.plan(d000="failed"))
    end = run.task("datasets")
    assert end.state == "failed"
    assert end.message.splitlines() == [
        "To retry d000, clear the task plan with downstream: only what failed is planned again.",
        "plan of dataset d000 failed: no table",
    ]
    run.planned(world.plan(generation=2, d000="skipped"))
    assert run.task("datasets").state == "skipped"


def test_a_table_emits_what_an_earlier_plan_delivered_and_nobody_heard_of(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(*MANY, clear_number=1)
    world.plan(d000="planned", d001="planned", clear_number=0)
    for dataset in ("d000", "d001"):
        world.leave(dataset, "extract", "check", "load", published=2, loaded=2)
    run.planned(world.plan(2, d000="planned", d001="planned", clear_number=1))
    for dataset in ("d000", "d001"):
        world.leave(dataset, "extract", "check", "load", generation=2, verdict="empty")
    sent = SimpleNamespace(extra={"generation": 1}, source_dag_id="payments", source_run_id=RUN)
    both = [f"{where}/d001" for where in ("x-lakeferry://lake", "bigquery://lakeferry-local/shop")]
    events = [SimpleNamespace(asset=SimpleNamespace(uri=uri), **vars(sent)) for uri in both]
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: events)
    assert run.task("datasets").state == "success"
    assert {uri: extra["generation"] for uri, extra in extras(run).items()} == {
        "x-lakeferry://lake/d000": 1,
        "bigquery://lakeferry-local/shop/d000": 1,
    }


def test_the_trigger_survives_the_way_through_airflows_database(world: World) -> None:
    run = {"lake": "file:///l", "pipeline": "p", "dag_id": "p", "run_id": "r", "stages": ["extract"]}
    where, kwargs = ReceiptTrigger(run, {"a": 1}, 5).serialize()
    assert where == "lakeferry_airflow.receipt_trigger.ReceiptTrigger"
    assert ReceiptTrigger(**kwargs).serialize() == (where, kwargs)


def test_a_table_that_was_replaced_by_nothing_is_a_delivery(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    uri = world.plan(payments="planned")
    plan = json.loads(world.documents.read(uri.removeprefix(world.settings.lake + "/")))
    plan["spec"]["datasets"][0]["write_disposition"] = "replace"
    key = plan_key(PIPELINE, RUN, 2)
    world.documents.create(key, json.dumps({**plan, "generation": 2, "uri": world.documents.uri(key)}))
    run.planned(uri)
    world.leave("payments", "extract", "check", "load", published=0, loaded=0)
    assert run.task("datasets.payments").state == "success"
    assert set(extras(run)) == {LAKE, BIGQUERY}


def test_airflow_dags_test_puts_a_dataset_off_only_while_a_stage_may_bring_it(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    context = RunDouble.context

    def by_tester(*args: Any) -> Any:
        made: Any = context(run, *args)
        made["dag_run"].triggering_user_name = "dag_test"
        return made

    run.context = by_tester  # type: ignore[method-assign]
    run.states |= dict.fromkeys(("extract", "check", "load"), "scheduled")
    assert isinstance(run.task("datasets.payments").error, AirflowRescheduleException)
    run.states |= dict.fromkeys(("extract", "check", "load"), "failed")
    end = run.task("datasets.payments")
    assert end.message.splitlines()[1] == "extract of dataset payments left no receipt; the task extract says why"
