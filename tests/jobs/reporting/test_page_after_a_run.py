"""Every run leaves the status page as it is now, for any end of the run."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from connectors.errors import LakeferryError
from jobs.cli.run import run_pipeline
from jobs.lake.documents import open_documents
from jobs.runs.receipts import Receipt, Receipts
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipeline
from tests.conftest import UniqueName
from tests.support.page_world import PageWorld


@pytest.mark.services
def test_a_run_that_could_not_be_planned_is_on_the_page(tmp_path: Path) -> None:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("payments", "no_such_table")
    code, _ = run_pipeline(load_pipeline(world.settings.pipelines, "payments"), world.settings)
    assert code == 2
    page = world.documents.read("page/index.html")
    assert '<article class="card failed" id="no_such_table">' in page
    assert "table shop.no_such_table is not there" in page


def test_a_run_that_stops_before_its_plan_still_refreshes_the_page(tmp_path: Path) -> None:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("payments", "payments")
    path = world.folder / "pipelines" / "payments.yaml"
    path.write_text(path.read_text().replace("aurora_payments", "nobody_defined_this"))
    with pytest.raises(LakeferryError, match="nobody_defined_this"):
        run_pipeline(load_pipeline(world.settings.pipelines, "payments"), world.settings)
    assert 'id="payments"' in world.documents.read("page/ja.html")


def test_the_newest_runs_are_found_on_s3_too(settings: Settings, unique_name: UniqueName) -> None:
    lake = f"{settings.lake}/{unique_name('page')}"
    receipts = Receipts(open_documents(lake))
    # All of these are written within a second or two, and S3 dates objects by the second.
    for run_id in ("c", "a", "d", "b"):
        receipts.leave(Receipt(pipeline="p", run_id=run_id, generation=1, stage="plan", dataset="d", verdict="done"))
    assert receipts.runs("p") == ["b", "d", "a", "c"]
    assert [receipt.run_id for receipt in receipts.newest("p", 5)] == ["c", "a", "d", "b"]
    assert [receipt.run_id for receipt in receipts.newest("p", 1)] == ["b"]
    bucket, _, prefix = lake.removeprefix("s3://").partition("/")
    boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=f"{prefix}/").delete()
