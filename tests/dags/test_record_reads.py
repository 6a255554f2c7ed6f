"""How many documents a task reads to know what has become of a run of many datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from jobs.lake.documents import FolderDocuments
from lakeferry_airflow.outcome import RunRecord, shortfalls

if TYPE_CHECKING:
    from tests.support.dags.documents import World

NAMES = [f"table_{number}" for number in range(100)]


@dataclass
class Requests:
    """Requests that the lake would get: `gets` by key, `lists` by prefix."""

    gets: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.gets.clear()
        self.lists.clear()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    counted = Requests()
    find, written = FolderDocuments.find, FolderDocuments.written

    def counted_find(self: FolderDocuments, key: str) -> str | None:
        counted.gets.append(key)
        return find(self, key)

    def counted_written(self: FolderDocuments, prefix: str) -> dict[str, float]:
        counted.lists.append(prefix)
        return written(self, prefix)

    monkeypatch.setattr(FolderDocuments, "find", counted_find)
    monkeypatch.setattr(FolderDocuments, "written", counted_written)
    return counted


def delivered(world: World, names: list[str]) -> str:
    uri = world.plan(**dict.fromkeys(names, "planned"))
    for stage in ("extract", "check", "load"):
        for name in names:
            world.leave(name, stage)
    return uri


def test_a_verdict_on_100_datasets_reads_each_receipt_once(world: World, requests: Requests) -> None:
    uri = delivered(world, NAMES)
    requests.clear()
    record = RunRecord.newest(world.settings, uri)
    record.read()
    assert [shortfalls(record, plan) for plan in record.plan.datasets] == [[]] * 100
    assert record.is_complete()
    # One plan and 3 receipts per dataset; a listing of the run's plans and one of its receipts.
    assert len(requests.gets) == 301
    assert len(requests.lists) == 2


def test_a_task_of_one_dataset_reads_only_that_dataset(world: World, requests: Requests) -> None:
    uri = delivered(world, NAMES)
    requests.clear()
    record = RunRecord.newest(world.settings, uri)
    assert shortfalls(record, record.plan.dataset("table_7")) == []
    assert len(requests.gets) == 4
    assert len(requests.lists) == 2


def test_a_stage_asks_for_no_receipt_that_is_not_there(world: World, requests: Requests) -> None:
    uri = world.plan(**dict.fromkeys(NAMES, "planned"))
    requests.clear()
    record = RunRecord.newest(world.settings, uri)
    assert record.has_work("extract")
    assert len(record.outcome("extract").missing) == 100
    assert len(requests.gets) == 1
    assert len(requests.lists) == 2


def test_looking_again_reads_only_what_came_since(world: World, requests: Requests) -> None:
    record = RunRecord.newest(world.settings, world.plan(**dict.fromkeys(NAMES, "planned")))
    for name in NAMES[:60]:
        world.leave(name, "extract")
    record.refresh()
    assert len(record.outcome("extract").receipts) == 60
    for name in NAMES[60:]:
        world.leave(name, "extract")
    requests.clear()
    record.refresh()
    assert record.outcome("extract").missing == ()
    assert len(requests.gets) == 40
    assert len(requests.lists) == 1


def test_looking_again_goes_on_with_a_newer_plan(world: World) -> None:
    record = RunRecord.newest(world.settings, world.plan(payments="planned"))
    world.leave("payments", "check", verdict="failed", code=3)
    world.plan(generation=2, payments="planned")
    world.leave("payments", "extract", generation=2)
    record.refresh()
    assert record.plan.generation == 2
    assert record.outcome("extract").missing == ()
    assert record.outcome("check").missing == ("payments",)
