"""Runs leave summaries, and the page is drawn from them: it says the same, and the lake's age costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.lake.documents import FolderDocuments, open_documents
from jobs.reporting.page import facts, leave_summary, summarize, write_page
from jobs.reporting.page.facts import gather
from jobs.reporting.page.summary import newest_summaries
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import load_pipeline
from tests.conftest import UniqueName
from tests.support.page_world import PageWorld


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return PageWorld.at(tmp_path / "world")


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read and the prefixes that are listed."""
    keys: list[str] = []
    find, written = FolderDocuments.find, FolderDocuments.written

    def counted_find(self: FolderDocuments, key: str) -> str | None:
        keys.append(key)
        return find(self, key)

    def counted_written(self: FolderDocuments, prefix: str) -> dict[str, float]:
        keys.append(f"list {prefix}")
        return written(self, prefix)

    monkeypatch.setattr(FolderDocuments, "find", counted_find)
    monkeypatch.setattr(FolderDocuments, "written", counted_written)
    return keys


def spec_of(world: PageWorld, pipeline: str = "payments") -> PipelineSpec:
    return load_pipeline(world.settings.pipelines, pipeline)


def assert_same_as_rebuilt(world: PageWorld) -> None:
    now = datetime.now(UTC)
    drawn = gather(world.settings, now, rebuild=False, keep=False)
    rebuilt = gather(world.settings, now, rebuild=True, keep=False)
    assert drawn.datasets == rebuilt.datasets
    assert drawn.pipelines == rebuilt.pipelines
    assert drawn.views == rebuilt.views


def test_the_page_of_summaries_says_what_receipts_and_tables_say(world: PageWorld) -> None:
    world.pipeline("payments", "payments", "merchants", schedule="@hourly")
    for number in range(3):
        hours_ago = 9.0 - number
        for dataset in ("payments", "merchants"):
            rows = 2 + number
            world.run(
                "payments",
                dataset,
                f"run {number}",
                hours_ago=hours_ago,
                published=rows,
                batch=number + 1,
                quarantined=1,
            )
            world.set_aside(dataset, [(f"run {number}", number + 1, "amount: not a number", "{}")])
        leave_summary(spec_of(world), f"run {number}", world.settings)
        assert_same_as_rebuilt(world)
    # Nothing new for one dataset, a failure of the other.
    world.receipt("payments", "payments", "run 3", "plan", 3, "empty", window_start=None, window_end=world._ago(3))
    world.receipt("payments", "payments", "run 3", "load", 3, "empty")
    world.receipt("payments", "merchants", "run 3", "plan", 3)
    world.receipt("payments", "merchants", "run 3", "extract", 3, "failed", error="merchants: no", exit_code=1)
    leave_summary(spec_of(world), "run 3", world.settings)
    assert_same_as_rebuilt(world)
    # Nobody reads the run above any more to know until when the dataset is fresh.
    world.receipt("payments", "merchants", "run 4", "plan", 2)
    leave_summary(spec_of(world), "run 4", world.settings, ended=False)
    assert_same_as_rebuilt(world)
    found = gather(world.settings, datetime.now(UTC), rebuild=False, keep=False)
    assert [(each.status.dataset, each.status.result) for each in found.datasets] == [
        ("merchants", "unfinished"),
        ("payments", "empty"),
    ]
    # The summary of the end replaces that of the plan.
    world.receipt("payments", "merchants", "run 4", "extract", 2, "failed", error="merchants: no", exit_code=1)
    leave_summary(spec_of(world), "run 4", world.settings)
    assert_same_as_rebuilt(world)


def test_drawing_costs_the_same_however_many_receipts_were_left(
    world: PageWorld, touched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p{number}" for number in range(4)]
    for name in names:
        world.pipeline(name, f"{name}_a", f"{name}_b")
        for run in range(25):
            for dataset in (f"{name}_a", f"{name}_b"):
                for stage in ("plan", "extract", "check", "load"):
                    world.receipt(name, dataset, f"run {run:02}", stage, 40 - run)
            leave_summary(spec_of(world, name), f"run {run:02}", world.settings)

    def no_tables(*_: object) -> None:
        raise AssertionError("drawing opens no table")

    monkeypatch.setattr(summarize, "open_catalog", no_tables)
    assert not hasattr(facts, "open_catalog")
    touched.clear()
    write_page(world.settings)
    assert {key for key in touched if key.startswith("list ")} == {
        "list page/index.html",
        *(f"list page/runs/{name}/" for name in names),
    }
    # 20 runs of each pipeline; the rest are looks at whether somebody else wrote the page.
    assert len([key for key in touched if not key.startswith("list ")]) == 4 * 20
    assert len(touched) == 4 * 20 + 4 + 2
    page = world.documents.read("page/index.html")
    assert page.count('<details class="run">') == 4 * 20


def test_a_dataset_that_is_asked_for_rarely_keeps_its_last_result(world: PageWorld) -> None:
    world.pipeline("payments", "payments", "merchants")
    world.run("payments", "merchants", "old", hours_ago=60, published=7)
    world.receipt("payments", "merchants", "failed", "plan", 50)
    world.receipt("payments", "merchants", "failed", "extract", 50, "failed", error="merchants: no", exit_code=1)
    leave_summary(spec_of(world), "failed", world.settings)
    for number in range(25):
        world.receipt("payments", "payments", f"run {number}", "plan", 40 - number, "empty")
        world.receipt("payments", "merchants", f"run {number}", "plan", 40 - number, "skipped")
        world.receipt("payments", "payments", f"run {number}", "load", 40 - number, "empty")
        leave_summary(spec_of(world), f"run {number}", world.settings)
    found = gather(world.settings, datetime.now(UTC), rebuild=False, keep=False)
    merchants = next(each for each in found.datasets if each.status.dataset == "merchants")
    assert (merchants.status.result, merchants.status.error, merchants.status.rows) == ("failed", "merchants: no", 7)
    [runs] = found.pipelines
    assert len(runs.runs) == 20


def test_runs_of_before_there_were_summaries_stay_on_the_page(world: PageWorld, touched: list[str]) -> None:
    world.pipeline("payments", "payments")
    for number in range(3):
        world.run("payments", "payments", f"run {number}", hours_ago=9 - number, published=2, batch=number + 1)
    write_page(world.settings)
    page = world.documents.read("page/index.html")
    assert page.count('<details class="run">') == 3
    touched.clear()
    write_page(world.settings)
    assert [key for key in touched if "receipts/" in key] == []
    assert world.documents.read("page/index.html").count('<details class="run">') == 3


def test_a_page_in_a_file_leaves_nothing_in_the_lake(world: PageWorld, tmp_path: Path) -> None:
    world.pipeline("payments", "payments")
    world.run("payments", "payments", "run 1", hours_ago=1, published=2)
    write_page(world.settings, tmp_path / "status.html", rebuild=True)
    assert world.documents.list("page/") == []


def test_a_summary_that_cannot_be_left_warns_and_stops_nothing(
    world: PageWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.pipeline("payments", "payments")
    world.run("payments", "payments", "run 1", hours_ago=1, published=2)
    (world.folder / "lake" / "page").write_text("a file where the folder should be")
    leave_summary(spec_of(world), "run 1", world.settings)
    assert "the status page is not up to date: NotADirectoryError" in capsys.readouterr().out
    said: list[str] = []
    leave_summary(spec_of(world), "run 1", world.settings, warn=said.append)
    assert said == ["the status page is not up to date: NotADirectoryError"]


def test_a_run_without_a_receipt_leaves_no_summary(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    leave_summary(spec_of(world), "run 1", world.settings)
    assert world.documents.list("page/") == []


def test_the_first_keys_are_listed_in_order_on_s3_too(settings: Settings, unique_name: UniqueName) -> None:
    documents = open_documents(f"{settings.lake}/{unique_name('page')}")
    for name in ("b", "a", "c"):
        documents.put(f"page/runs/p/{name}.json", b"{}", "application/json")
    assert documents.first("page/runs/p/", 2) == ["page/runs/p/a.json", "page/runs/p/b.json"]
    assert documents.first("page/runs/q/", 2) == []
    assert newest_summaries(documents, ["q"]) == {"q": []}
