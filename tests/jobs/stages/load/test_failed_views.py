"""A view that could not be made is on the page and in `status` and `receipts`, until it can be made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.app import app
from jobs.lake.documents import open_documents
from jobs.reporting.page import write_page
from jobs.runs.plan_document import DatasetPlan, Plan, plan_key
from jobs.runs.receipts import Receipt, Receipts
from jobs.spec.reader import load_pipeline
from jobs.stages.loop import run_stages
from jobs.stages.plan.frozen_files import PipelineFiles
from tests.support.page_world import PageWorld

ERROR = "sales.sql pipeline payments: BigQuery refuses view mart.sales."


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PageWorld:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("payments", "payments")
    path = world.folder / "pipelines" / "payments.yaml"
    views = "views: [{name: mart.sales, sql: sales.sql}, {name: mart.days, sql: days.sql}]\n"
    path.write_text(path.read_text() + views, encoding="utf-8")
    for name in ("sales", "days"):
        (world.folder / "pipelines" / f"{name}.sql").write_text("SELECT id FROM shop.payments")
    world.run("payments", "payments", "run 1", hours_ago=2, published=2)
    for key in ("lake", "catalog", "pipelines"):
        monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(getattr(world.settings, key)))
    return world


def leave(world: PageWorld, view: str, error: str | None, run_id: str = "run 1", hours_ago: float = 2) -> None:
    Receipts(world.documents).leave_view(
        Receipt(
            pipeline="payments",
            run_id=run_id,
            generation=1,
            stage="view",
            dataset=view,
            verdict="failed" if error else "done",
            error=error,
            exit_code=2 if error else 0,
            finished_at=(world.now - timedelta(hours=hours_ago) + timedelta(minutes=1)).isoformat(),
        )
    )


def test_a_failed_view_is_shown_until_it_is_made(world: PageWorld) -> None:
    leave(world, "mart.sales", ERROR)
    leave(world, "mart.days", None)
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == 2
    [line] = [line for line in shown.output.splitlines() if "mart.sales" in line]
    assert "view mart.sales" in line
    assert ERROR in line
    assert "mart.days" not in shown.output
    receipts = CliRunner().invoke(app, ["receipts", "payments"]).output
    assert "mart.days" in receipts
    assert ERROR in receipts
    write_page(world.settings, rebuild=True)
    page = world.documents.read("page/index.html")
    assert "Views that could not be made" in page
    assert ERROR in page
    assert '<span class="n">1</span> failed' in page
    assert '<span class="badge bad"><span aria-hidden="true">✕</span> failed</span> <span class="n">' in page
    assert "作成できなかったビュー" in world.documents.read("page/ja.html")

    leave(world, "mart.sales", None, hours_ago=1)
    shown = CliRunner().invoke(app, ["status"])
    assert (shown.exit_code, "mart.sales" in shown.output) == (0, False)
    write_page(world.settings, rebuild=True)
    assert "Views that could not be made" not in world.documents.read("page/index.html")


@pytest.mark.services
def test_each_view_leaves_a_receipt_where_bigquery_does_not_answer(world: PageWorld) -> None:
    settings = world.settings.model_copy(update={"warehouse_endpoint": "http://127.0.0.1:9"})
    plan = Plan(
        pipeline="payments",
        run_id="run 2",
        generation=1,
        created_at="2026-11-30T00:00:00+00:00",
        spec=load_pipeline(settings.pipelines, "payments"),
        datasets=(DatasetPlan(name="payments", generation=1, state="skipped"),),
        views=PipelineFiles(load_pipeline(settings.pipelines, "payments"), settings).views,
        uri=world.documents.uri(plan_key("payments", "run 2", 1)),
    )
    world.documents.create(plan_key("payments", "run 2", 1), plan.model_dump_json())
    assert run_stages(plan.uri, "load", "load", settings) == 3
    left = Receipts(open_documents(settings.lake)).of_run("payments", "run 2")
    assert sorted((receipt.dataset, receipt.stage, receipt.verdict, receipt.exit_code) for receipt in left) == [
        ("mart.days", "view", "failed", 3),
        ("mart.sales", "view", "failed", 3),
    ]
