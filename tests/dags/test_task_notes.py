"""Tasks show more than their state: links, rows, and where the log of a stage is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from jobs.runs.receipts import Receipt, Receipts, data_docs_key
from jobs.runtime.settings import Settings
from lakeferry_airflow.addresses import bigquery_table, emr_job, in_lake
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.outcome import RunRecord
from lakeferry_airflow.stage_notes import where_it_ran
from tests.support.dags.documents import PIPELINE, RUN, spec_of

if TYPE_CHECKING:
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.runner_double import Script


DOUBLE = "tests.support.dags.runner_double:RunnerDouble"


def test_a_stage_leaves_the_rows_of_each_dataset_whether_it_succeeds_or_not(
    world: World, script: Script, new_run: NewRun
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="planned"))

    def work() -> None:
        for dataset in ("payments", "merchants"):
            world.leave(dataset, "extract")
        world.leave("payments", "check", published=3)
        world.leave("merchants", "check", verdict="failed", code=1)

    script.then(work, code=65)
    run.task("extract")
    assert run.task("check").state == "failed"
    assert run.xcom("extract") == {
        "payments": {"verdict": "done", "seconds": 0.0},
        "merchants": {"verdict": "done", "seconds": 0.0},
    }
    assert run.xcom("check") == {
        "payments": {"verdict": "done", "published": 3, "seconds": 0.0},
        "merchants": {"verdict": "failed", "seconds": 0.0},
    }


def test_a_stage_that_starts_nothing_says_whose_log_it_is_in(world: World) -> None:
    record = RunRecord(world.settings, world.plan(payments="planned"))
    said = "Task {} starts nothing: its work was done in {}; the log is there"
    inside, tried = "the application of task extract", "an earlier try"
    assert where_it_ran(record, "check", "load", 1) == said.format("check", inside)
    assert where_it_ran(record, "check", "check", 2) == said.format("check", f"{tried} or {inside}")
    assert where_it_ran(record, "load", "check", 2) == said.format("load", tried)
    assert where_it_ran(record, "extract", "load", 2) == said.format("extract", tried)


def test_the_web_server_knows_the_links_without_a_plugin_and_without_our_code(world: World) -> None:
    dag = DagSerialization.from_dict(DagSerialization.to_dict(build_dag(spec_of("payments"), world.settings)))

    def links(task_id: str) -> dict[str, Any]:
        return {link.name: link.xcom_key for link in dag.get_task(task_id).operator_extra_links}

    run = {"Status page": "_link_StatusPageLink", "Receipts": "_link_ReceiptsLink"}
    assert links("extract") == links("load") == {**run, "EMR job": "_link_JobLink"}
    assert links("datasets.payments") == {
        **run,
        "Data Docs": "_link_DataDocsLink",
        "BigQuery table": "_link_TableLink",
    }


def test_the_link_to_an_emr_job_is_there_while_it_runs(
    world: World, script: Script, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    monkeypatch.setenv("LAKEFERRY_RUNNER", "emr_serverless")
    monkeypatch.setenv("LAKEFERRY_EMR_STUDIO_URL", "https://es-1.emrstudio-prod.eu-west-1.amazonaws.com/")
    monkeypatch.setattr(
        "lakeferry_airflow.runners.RUNNERS", {"emr_serverless": "tests.support.dags.runner_double:RunnerDouble"}
    )
    seen: list[Any] = []

    def work() -> None:
        seen.append(run.xcom("extract", key="_link_JobLink"))
        world.leave("payments", "extract")

    script.then(work)
    assert run.task("extract").state == "success"
    task: Any = run.contexts[-1]["task"]
    [link] = [link for link in task.operator_extra_links if link.name == "EMR job"]
    assert seen == [link.get_link(task, ti_key=run.contexts[-1]["ti"])]  # type: ignore[arg-type]
    assert seen == ["https://es-1.emrstudio-prod.eu-west-1.amazonaws.com/#/serverless-applications//job-1"]


@pytest.mark.parametrize(
    ("settings", "document", "folder"),
    [
        (
            {"lake": "s3://lake/a", "lake_url": "https://lake.example.org/x/"},
            "https://lake.example.org/x/docs/p/r%3D3A1/index.html",
            "https://lake.example.org/x/docs/p/",
        ),
        (
            {"lake": "s3://lake/a"},
            "https://s3.console.aws.amazon.com/s3/object/lake?prefix=a%2Fdocs%2Fp%2Fr%3D3A1%2Findex.html",
            "https://s3.console.aws.amazon.com/s3/buckets/lake?prefix=a%2Fdocs%2Fp%2F",
        ),
        ({"lake": "file:///tmp/lake"}, "file:///tmp/lake/docs/p/r%3D3A1/index.html", "file:///tmp/lake/docs/p/"),
    ],
)
def test_where_a_browser_finds_the_lake(
    settings: dict[str, str], document: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    made = Settings.model_validate(settings)
    assert in_lake(made, "docs/p/r=3A1/index.html") == document
    assert in_lake(made, "docs/p/") == folder


def test_where_a_browser_finds_what_stands_in_for_aws_and_google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:15000")
    made = Settings.model_validate(
        {"lake": "s3://lake", "artifacts": "s3://art/x", "warehouse_endpoint": "http://127.0.0.1:19050"}
    )
    assert in_lake(made, "page/index.html") == "http://127.0.0.1:15000/lake/page/index.html"
    assert in_lake(made, "receipts/p/") == "http://127.0.0.1:15000/lake?prefix=receipts%2Fp%2F"
    assert emr_job(made, "app/job") == (
        "http://127.0.0.1:15000/art?prefix=x%2Flogs%2Fapplications%2Fapp%2Fjobs%2Fjob%2F"
    )
    assert bigquery_table(made, "shop.t").startswith("http://127.0.0.1:19050/bigquery/v2/projects/lakeferry-local/")


def test_data_docs_are_linked_where_expectations_failed(world: World, new_run: NewRun) -> None:
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract")
    key = data_docs_key(PIPELINE, "payments", RUN, 1)
    Receipts(world.documents).leave(
        Receipt(
            pipeline=PIPELINE,
            run_id=RUN,
            generation=1,
            stage="check",
            dataset="payments",
            verdict="failed",
            error="amount is negative",
            error_type="CheckFailed",
            exit_code=1,
        )
    )
    assert run.task("datasets.payments").state == "failed"
    task: Any = run.contexts[-1]["task"]
    assert task.addresses["Data Docs"] == f"{world.settings.lake}/{quote(key)}"
