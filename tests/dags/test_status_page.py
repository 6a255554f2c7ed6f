"""The DAG that draws the status page, and the summaries that the tasks of a run leave for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DeltaTriggerTimetable
from airflow.serialization.serialized_objects import DagSerialization

from jobs.lake.documents import FolderDocuments
from jobs.reporting.page.summary import newest_summaries
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from lakeferry_airflow.status_page import page_dag, page_dags
from tests.support.dags.documents import PIPELINE, RUN, World
from tests.support.dags.task_double import RunDouble

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dags.conftest import NewRun
    from tests.support.dags.plan_double import Planner

DAG_FILE = str(CHECKOUT / "dags" / "lakeferry_page.py")
STAGES = ("extract", "check", "load")
YAML = """pipeline: payments
source: {type: aurora, connection: aurora_payments}
datasets:
  - name: payments
    table: shop.payments
    primary_key: [id]
    write_disposition: append
    bigquery: {table: shop.payments}
"""


def test_the_page_has_a_dag_of_its_own_that_nobody_pauses_by_accident(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.into(monkeypatch)
    monkeypatch.setenv("LAKEFERRY_DAGS_PAUSED", "true")
    monkeypatch.setenv("LAKEFERRY_SCHEDULES", "false")
    monkeypatch.setenv("LAKEFERRY_PAGE_MINUTES", "7")
    [(dag_id, dag)] = page_dags(DAG_FILE).items()
    assert (dag_id, dag.dag_id, dag.task_ids) == ("lakeferry_page", "lakeferry_page", ["draw"])
    assert dag.is_paused_upon_creation is False
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert isinstance(dag.timetable, DeltaTriggerTimetable)
    assert dag.timetable.delta == timedelta(minutes=7)
    assert dag.get_task("draw").execution_timeout == timedelta(minutes=30)
    assert "page/index.html" in str(dag.doc_md)
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).dag_id == "lakeferry_page"


def test_the_dag_is_not_there_where_the_page_is_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.into(monkeypatch)
    monkeypatch.setenv("LAKEFERRY_PAGE_MINUTES", "0")
    assert page_dags(DAG_FILE) == {}


def test_two_lakes_in_one_airflow_have_a_page_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.into(monkeypatch)
    monkeypatch.setenv("LAKEFERRY_DAG_ID_PREFIX", "shop.")
    [(dag_id, dag)] = page_dags(DAG_FILE).items()
    assert (dag_id, dag.dag_id) == ("shop.lakeferry_page", "shop.lakeferry_page")


def test_a_bundle_s_page_shows_the_pipelines_beside_its_dag_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.into(monkeypatch)
    monkeypatch.delenv("LAKEFERRY_PIPELINES")
    (tmp_path / "checkout" / "pipelines").mkdir(parents=True)
    [dag] = page_dags(str(tmp_path / "checkout" / "lakeferry_page.py")).values()
    assert dag.get_task("draw").pipelines == str(tmp_path / "checkout" / "pipelines")
    (tmp_path / "checkout" / "pipelines" / "payments.yaml").write_text(YAML, encoding="utf-8")
    assert RunDouble(dag).task("draw").state == "success"
    assert 'id="payments"' in world.documents.read("page/index.html")


def drawn(world: World) -> str:
    world.settings.pipelines.mkdir(exist_ok=True)
    (world.settings.pipelines / "payments.yaml").write_text(YAML, encoding="utf-8")
    end = RunDouble(page_dag(world.settings)).task("draw")
    assert end.state == "success", end.message
    return world.documents.read("page/index.html")


@pytest.mark.services
def test_a_run_is_on_the_page_from_its_plan_to_its_verdict(world: World, new_run: NewRun, planner: Planner) -> None:
    run = new_run("payments")

    def plans() -> str:
        uri = world.plan(payments="planned")
        world.leave("payments", "plan")
        return uri

    planner.plans = plans
    assert run.task("plan").state == "success"
    # The tasks of a run draw nothing: with a thousand pipelines each would draw them all.
    assert world.documents.find("page/index.html") is None
    assert '<article class="card attention" id="payments">' in drawn(world)
    world.leave("payments", "extract", verdict="failed", code=1)
    assert run.task("verdict").state == "failed"
    page = drawn(world)
    assert '<article class="card failed" id="payments">' in page
    assert "amount is negative" in page
    assert page.count('<details class="run">') == 1


def test_a_verdict_on_100_datasets_leaves_its_summary_with_few_reads(
    world: World, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"table_{number}" for number in range(100)]
    run = new_run(*names)
    run.planned(world.plan(**dict.fromkeys(names, "planned")))
    for name in names:
        world.leave(name, "plan", *STAGES)
    assert run.task("verdict").state == "success"
    read: list[str] = []
    find = FolderDocuments.find
    monkeypatch.setattr(FolderDocuments, "find", lambda self, key: read.append(key) or find(self, key))  # type: ignore[func-returns-value]
    assert run.task("verdict", try_number=2).state == "success"
    # The plan, four receipts per dataset, and the summary before this one.
    assert len(read) == 402
    [summary] = newest_summaries(world.documents, [PIPELINE])[PIPELINE]
    assert (summary.run_id, len(summary.receipts), summary.carried) == (RUN, 400, ())


def test_a_verdict_that_leaves_no_summary_is_the_same(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", *STAGES)
    (world.settings.pipelines.parent / "lake" / "page").write_text("a file where the folder should be")
    assert run.task("verdict").state == "success"


def test_a_page_that_cannot_be_drawn_is_a_failed_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.into(monkeypatch)
    (world.settings.pipelines.parent / "lake").mkdir()
    (world.settings.pipelines.parent / "lake" / "page").write_text("a file where the folder should be")
    assert RunDouble(page_dag(world.settings)).task("draw").state == "failed"
