"""The status page over a lake in a folder: what comes first, what is counted, and what must never be on it."""

from __future__ import annotations

import html
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.errors import UsageError
from jobs.reporting.page import page_note, refresh_page, write_page
from jobs.reporting.page.freshness import freshness_of
from jobs.reporting.quarantine import set_aside
from jobs.runs.receipts import Receipts
from jobs.runtime.settings import Settings
from jobs.spec.models import After, DatasetSpec, PipelineSpec, SourceSpec, WarehouseSpec
from jobs.spec.reader import load_pipeline
from tests.support.page_world import PageWorld

NOW = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)  # a Monday


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return PageWorld.at(tmp_path / "world")


def pages(world: PageWorld) -> tuple[str, str]:
    write_page(world.settings, rebuild=True)
    return world.documents.read("page/index.html"), world.documents.read("page/ja.html")


def text_of(page: str) -> str:
    """Returns the text of the page, without markup, on one line."""
    body = re.sub(r"<style>.*?</style>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body)))


def card(page: str, dataset: str) -> str:
    found = re.search(rf'<article class="card \w+" id="{dataset}">.*?</article>', page, re.DOTALL)
    assert found, dataset
    return text_of(found.group())


def test_what_failed_comes_first_then_what_is_late_or_unfinished(world: PageWorld) -> None:
    world.pipeline("accounts", "accounts")
    world.run("accounts", "accounts", "run 1", hours_ago=1, published=2)
    world.pipeline("bonds", "bonds", schedule="@hourly")
    world.run("bonds", "bonds", "run 1", hours_ago=9, published=2)
    world.pipeline("coins", "coins")
    world.receipt("coins", "coins", "run 1", "plan", 1)
    world.pipeline("debts", "debts")
    world.run("debts", "debts", "run 1", hours_ago=3, published=2)
    world.receipt("debts", "debts", "run 2", "plan", 2)
    error = "debts: no table shop.debts. Did you mean shop.debt?"
    world.receipt("debts", "debts", "run 2", "extract", 2, "failed", error=error, exit_code=2)
    english, japanese = pages(world)
    for page in (english, japanese):
        assert re.findall(r'<article class="card (\w+)" id="(\w+)">', page) == [
            ("failed", "debts"),
            ("attention", "bonds"),
            ("attention", "coins"),
            ("fine", "accounts"),
        ]
        assert re.findall(r'id="runs-(\w+)"', page) == ["debts", "bonds", "coins", "accounts"]
    assert "✕ failed – no schedule Error debts: no table shop.debts. Did you mean shop.debt?" in card(english, "debts")
    assert "✓ done ▲ late" in card(english, "bonds")
    assert "◌ unfinished" in card(english, "coins")
    assert "✕ 失敗 – スケジュールなし" in card(japanese, "debts")
    assert "✕ 1 failed ▲ 2 need a look ✓ 1 fine" in text_of(english)


def test_a_batch_that_was_rejected_whole_needs_a_look_until_a_row_arrives(world: PageWorld) -> None:
    world.pipeline("events", "events")
    world.run("events", "events", "run 1", hours_ago=2, published=0, quarantined=3)
    english, japanese = pages(world)
    assert '<article class="card attention" id="events">' in english
    assert "Every row of the last batch was rejected, rows: 3" in card(english, "events")
    assert "直近のバッチは全行が隔離されました。行数: 3" in card(japanese, "events")
    file = world.folder / "pipelines" / "events.yaml"
    spec = file.read_text(encoding="utf-8")
    file.write_text(f"{spec}    most_quarantined: 1\n", encoding="utf-8")
    assert '<article class="card fine" id="events">' in pages(world)[0]
    file.write_text(spec, encoding="utf-8")
    world.run("events", "events", "run 2", hours_ago=1, published=1, quarantined=2, batch=2)
    assert "Every row of the last batch" not in pages(world)[0]


def dataset(**options: object) -> DatasetSpec:
    warehouse = WarehouseSpec(table="shop.payments")
    return DatasetSpec(name="payments", write_disposition="append", bigquery=warehouse, options=options)


@pytest.mark.parametrize(
    ("schedule", "fresh_until", "options", "said"),
    [
        ("@hourly", "2026-11-30T12:00:00", {}, "fresh"),
        ("@hourly", "2026-11-30T10:00:00", {}, "fresh"),
        ("@hourly", "2026-11-30T09:59:59", {}, "late"),
        ("@hourly", "2026-11-30T09:00:00", {"lag_seconds": 3600}, "fresh"),
        ("@hourly", None, {}, "never"),
        # Nobody works at the weekend: on Monday noon Thursday's data is two runs old, Wednesday's three.
        ("0 9 * * 1-5", "2026-11-26T09:00:00", {}, "fresh"),
        ("0 9 * * 1-5", "2026-11-26T08:59:59", {}, "late"),
        ("@quarterly", "2026-04-01T00:00:00", {}, "fresh"),
        ("@quarterly", "2026-03-31T00:00:00", {}, "late"),
        (None, "2020-01-01T00:00:00", {}, "unscheduled"),
        (After(after=["merchants"]), "2020-01-01T00:00:00", {}, "unscheduled"),
    ],
)
def test_late_is_more_than_two_of_its_times_behind(
    world: PageWorld, schedule: str | After | None, fresh_until: str | None, options: dict[str, object], said: str
) -> None:
    one = dataset(**options)
    source = SourceSpec(type="aurora", connection="aurora_payments")
    spec = PipelineSpec(pipeline="payments", schedule=schedule, source=source, datasets=[one])
    until = datetime.fromisoformat(fresh_until).replace(tzinfo=UTC) if fresh_until else None
    assert freshness_of(spec, one, until, NOW, world.settings) == said


def test_where_schedules_start_nothing_nothing_is_late(world: PageWorld) -> None:
    one = dataset()
    source = SourceSpec(type="aurora", connection="aurora_payments")
    spec = PipelineSpec(pipeline="payments", schedule="@hourly", source=source, datasets=[one])
    settings = world.settings.model_copy(update={"schedules": False})
    assert freshness_of(spec, one, datetime(2020, 1, 1, tzinfo=UTC), NOW, settings) == "unscheduled"


def test_the_numbers_of_the_last_runs_are_there_in_both_languages(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    world.run("payments", "payments", "run 1", hours_ago=3, published=19970, quarantined=30, bytes_loaded=1_400_000)
    world.run("payments", "payments", "run 2", hours_ago=1, published=298, quarantined=2, batch=2, bytes_loaded=999)
    english, japanese = pages(world)
    found = card(english, "payments")
    assert "Rows in curated 298 Batch 2" in found
    assert "4 rules kept, Data Docs" in found
    assert re.search(r"UTC ✓ done 300 298 2 298 999 B 6\.0 Data Docs .* 20,000 19,970 30 19,970 1\.4 MB 6\.0", found)
    # The drawing says in words what it shows.
    assert 'aria-label="rows published, then quarantined, oldest run first: 19,970 + 30, 298 + 2"' in english
    assert 'href="../docs/payments/payments/run%3D202/1/index.html"' in english
    words_apart = [re.findall(r"[0-9][0-9,.:-]*", text_of(page).replace("時点", "")) for page in (english, japanese)]
    assert words_apart[0] == words_apart[1]
    assert '<html lang="ja">' in japanese
    assert 'href="ja.html"' in english
    assert 'href="index.html"' in japanese


def test_a_rule_that_was_broken_links_its_data_docs(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    world.receipt("payments", "payments", "run 1", "plan", 1)
    world.receipt("payments", "payments", "run 1", "extract", 1, read=10, quarantined=0)
    world.receipt(
        "payments", "payments", "run 1", "check", 1, "failed", generation=1,
        error="payments: 3 rows too few", error_type="CheckFailed", exit_code=1,
    )  # fmt: skip
    english, _ = pages(world)
    assert "rules broken, Data Docs" in card(english, "payments")
    assert 'href="../docs/payments/payments/run%3D201/1/index.html"' in english


def test_reasons_are_counted_and_escaped_and_no_row_is_shown(world: PageWorld) -> None:
    world.pipeline("payments", "payments", "merchants")
    world.run("payments", "payments", "run 1", hours_ago=1, published=5, quarantined=5)
    hostile = "amount <script>alert(1)</script>"
    world.set_aside(
        "payments",
        [
            ("run 1", 1, hostile, '{"memo": "SECRET-RECORD"}'),
            ("run 1", 1, hostile, '{"memo": "SECRET-RECORD"}'),
            ("run 1", 1, "paid_on: not a date: 0000-00-00; due_on: not a date: 2026-00-17", "SECRET-RECORD"),
            ("run 1", 1, "paid_on: not a date: 2026-02-00; due_on: not a date: 2026-00-18", "SECRET-RECORD"),
            ("run 1", 1, "paid_on: not a date: 2026-02-00; due_on: not a date: 2026-00-18", "SECRET-RECORD"),
            ("never published", 2, hostile, "SECRET-RECORD"),
        ],
    )
    english, japanese = pages(world)
    for page in (english, japanese):
        assert "<script" not in page
        assert "SECRET-RECORD" not in page
        assert "id=1" not in page
        for value in ("0000-00-00", "2026-00-17", "2026-02-00"):
            assert value not in page
        assert "amount <script>alert(1)</script> 2 1 " in text_of(page)
        assert "paid_on: not a date; due_on: not a date 3 0 " in text_of(page)


def test_only_the_last_batches_of_quarantine_are_looked_at(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    for number in (1, 2, 3):
        world.run("payments", "payments", f"run {number}", hours_ago=4 - number, published=1, batch=number)
        world.set_aside("payments", [(f"run {number}", number, "amount is negative", f"record {number}")])
    world.set_aside("payments", [("not published", 4, "amount is negative", "record 4")])
    spec = load_pipeline(world.settings.pipelines, "payments")
    found = set_aside(spec, world.settings, only=[], examples=0, last_batches=2)
    assert [(entry.batch, entry.rows, entry.published, entry.examples) for entry in found] == [
        (4, 1, False, []),
        (3, 1, True, []),
        (2, 1, True, []),
    ]
    everything = set_aside(spec, world.settings, only=[], examples=1)
    assert [entry.examples for entry in everything] == [[("id=1", f"record {number}")] for number in (4, 3, 2, 1)]


def test_errors_and_descriptions_are_text_not_markup(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    path = world.folder / "pipelines" / "payments.yaml"
    path.write_text(path.read_text().replace("One row of payments a line", "<img src=x onerror=alert(1)>"))
    world.receipt("payments", "payments", "<b>run</b>", "plan", 1, "failed", error="<img src=y>", exit_code=2)
    english, _ = pages(world)
    assert "<img" not in english
    assert "<b>" not in english
    assert "<img src=x onerror=alert(1)>" in text_of(english)


def test_a_run_shows_all_its_receipts_and_whole_errors(world: PageWorld) -> None:
    world.pipeline("payments", "payments", "merchants")
    world.run("payments", "payments", "run 1", hours_ago=1, published=7)
    long = "payments.yaml:6 dataset merchants: " + "no such column; " * 40 + "THE END"
    world.receipt("payments", "merchants", "run 1", "plan", 1, "failed", error=long, exit_code=2)
    english, _ = pages(world)
    runs = english[english.index('id="runs-payments"') :]
    said = text_of(runs)
    assert "✕ failed" in said[: said.index("run 1")]
    stages = re.findall(r'<tr><td class="keep">(\w+)</td><td>(\w+)</td>', runs)
    assert stages == [("merchants", "plan"), *(("payments", stage) for stage in ("plan", "extract", "check", "load"))]
    assert f"merchants, plan {long}" in said


def test_a_pipeline_file_that_cannot_be_read_is_said(world: PageWorld) -> None:
    world.pipeline("payments", "payments")
    (world.folder / "pipelines" / "broken.yaml").write_text("pipeline: [", encoding="utf-8")
    english, japanese = pages(world)
    assert "broken.yaml:1" in text_of(english)
    assert "読み込めないパイプライン定義" in japanese
    assert 'id="payments"' in english


def test_only_the_last_runs_of_each_dataset_are_read(world: PageWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.receipt("payments", "merchants", "first", "plan", 40)
    dated: set[Path] = set()
    for number in range(6):
        for stage in ("plan", "extract"):
            world.receipt("payments", "payments", f"run {number}", stage, 30 - number)
        # Each run was written in a second of its own: of runs of one second receipts are read for their order.
        written = {path for path in (world.folder / "lake").rglob("*.json") if path not in dated}
        for path in written:
            os.utime(path, (1_000_000 + number, 1_000_000 + number))
        dated |= written
    read: list[str] = []
    kind = type(world.documents)
    whole = kind.read
    monkeypatch.setattr(kind, "read", lambda self, key: read.append(key) or whole(self, key))  # type: ignore[func-returns-value]
    found = Receipts(world.documents).newest("payments", 2)
    assert [(receipt.dataset, receipt.run_id, receipt.stage) for receipt in found] == [
        ("merchants", "first", "plan"),
        ("payments", "run 4", "plan"),
        ("payments", "run 4", "extract"),
        ("payments", "run 5", "plan"),
        ("payments", "run 5", "extract"),
    ]
    assert len(read) == 5


def test_a_dataset_stays_fresh_as_published_however_many_runs_failed_since(world: PageWorld) -> None:
    world.pipeline("payments", "payments", schedule="@daily")
    world.run("payments", "payments", "good", hours_ago=30, published=3)
    for number in range(25):
        world.receipt("payments", "payments", f"bad {number}", "plan", 25 - number, "failed", error="no", exit_code=2)
    english, _ = pages(world)
    assert "✕ failed ✓ fresh" in card(english, "payments")


def test_a_page_in_a_file_links_its_other_language_and_only_what_a_browser_opens(
    world: PageWorld, tmp_path: Path
) -> None:
    world.pipeline("payments", "payments")
    world.run("payments", "payments", "run 1", hours_ago=1, published=1)
    places = write_page(world.settings, tmp_path / "status.html")
    assert places == [str(tmp_path / "status.html"), str(tmp_path / "status.ja.html")]
    english = (tmp_path / "status.html").read_text(encoding="utf-8")
    assert 'href="status.ja.html"' in english
    assert f'href="{world.settings.lake}/docs/payments/payments/run%3D201/1/index.html"' in english
    assert world.documents.list("page/") == []
    with pytest.raises(UsageError, match="cannot be written"):
        write_page(world.settings, tmp_path / "no" / "status.html")


def test_a_page_that_cannot_be_written_warns_and_stops_nothing(
    world: PageWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.pipeline("payments", "payments")
    (world.folder / "lake" / "page").write_text("a file where the folder should be")
    refresh_page(world.settings)
    assert '"event": "warning"' in (said := capsys.readouterr().out)
    assert "the status page is not up to date" in said


def test_the_dag_says_where_the_page_is() -> None:
    at_home = Settings(lake="file:///data/my%20lake")
    assert page_note(at_home) == (
        "Status page: [/data/my lake/page/index.html](file:///data/my%20lake/page/index.html)"
    )
    assert page_note(Settings(lake="s3://bucket/lake/")) == (
        "Status page: `s3://bucket/lake/page/index.html`; `lakeferry page --to status.html` writes it to a file here."
    )
