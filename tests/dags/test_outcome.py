"""The states of tasks by the receipts that stages left, in a lake in a folder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from lakeferry_airflow.messages import FailureLines
from lakeferry_airflow.outcome import RunRecord, shortfalls

if TYPE_CHECKING:
    from tests.support.dags.documents import World


def test_nothing_is_done_before_the_first_receipt(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned", merchants="planned"))
    assert record.outcome("extract").missing == ("payments", "merchants")
    assert record.has_work("extract")
    assert not record.has_work("check")
    assert record.reachable(record.outcome("check")) == ()


def test_what_has_left_its_receipt_is_not_done_again(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned", merchants="planned"))
    world.leave("payments", "extract")
    assert record.outcome("extract").missing == ("merchants",)
    world.leave("merchants", "extract")
    record.refresh()
    assert not record.has_work("extract")
    assert record.has_work("check")


def test_a_failed_dataset_is_its_own_failure(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned", merchants="planned"))
    for dataset in ("payments", "merchants"):
        world.leave(dataset, "extract")
    world.leave("payments", "check", verdict="failed", code=1)
    world.leave("merchants", "check")
    world.leave("merchants", "load")
    assert record.outcome("load").missing == ()
    assert shortfalls(record, record.plan.dataset("merchants")) == []
    assert shortfalls(record, record.plan.dataset("payments")) == [
        "check of dataset payments failed: amount is negative"
    ]
    assert not record.is_complete()


def test_a_dataset_with_nothing_new_owes_no_receipt_but_is_loaded(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="empty"))
    assert not record.has_work("extract")
    assert record.has_work("load")
    world.leave("payments", "load", verdict="empty")
    record.refresh()
    assert not record.has_work("load")
    assert record.is_complete()


def test_a_dataset_that_could_not_be_planned_owes_nothing_and_is_a_shortfall(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="failed", merchants="planned"))
    assert record.outcome("extract").missing == ("merchants",)
    for stage in ("extract", "check", "load"):
        world.leave("merchants", stage)
    record.refresh()
    assert not record.has_work("load")
    assert shortfalls(record, record.plan.dataset("payments")) == ["plan of dataset payments failed: no table"]
    assert shortfalls(record, record.plan.dataset("merchants")) == []


def test_a_skipped_dataset_owes_nothing_and_is_no_shortfall(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned", merchants="skipped"))
    assert record.outcome("extract").missing == ("payments",)
    for stage in ("extract", "check", "load"):
        world.leave("payments", stage)
    record.refresh()
    assert not record.has_work("load")
    assert shortfalls(record, record.plan.dataset("merchants")) == []
    assert record.is_complete()


def test_what_a_job_says_of_failures_is_kept_for_the_task_that_fails() -> None:
    said: list[str] = []
    lines = FailureLines(SimpleNamespace(info=lambda _, line: said.append(line)))
    given = [
        '{"event": "done"}',
        "not JSON",
        "[1]",
        '{"event":' * 100_000,
        '{"event": "failed", "error": "p.yaml dataset d: it broke."}',
    ]
    for line in given:
        lines(line)
    assert said == given
    assert lines.failures == ["p.yaml dataset d: it broke"]


def test_a_superseded_dataset_is_well(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict="superseded")
    assert shortfalls(record, record.plan.dataset("payments")) == []


def test_a_missing_receipt_is_a_shortfall(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned"))
    world.leave("payments", "extract")
    assert shortfalls(record, record.plan.dataset("payments")) == [
        "check of dataset payments left no receipt; the task check says why"
    ]


def test_the_newest_generation_counts(world: World) -> None:
    first = world.plan(payments="planned")
    world.leave("payments", "extract", verdict="failed", code=1)
    world.plan(generation=2, payments="planned")
    record = RunRecord.newest(world.settings, first)
    assert record.plan.generation == 2
    assert record.outcome("extract").missing == ("payments",)
