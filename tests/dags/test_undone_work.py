"""Work that a stage owes a dataset in which nothing is new: no task and no verdict is green while it is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from jobs.lake import batch_log as batches
from jobs.lake.catalog import ensure_namespaces, open_catalog
from jobs.lake.names import CURATED, RAW
from lakeferry_airflow.outcome import RunRecord

if TYPE_CHECKING:
    from jobs.runs.receipts import Verdict
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World
    from tests.support.dags.runner_double import Script

STAGES = ("extract", "check", "load")
VIEW = "mart.sales"
ADOPTED = {"known": False, "details": "process 7 of an earlier try ended"}
ON_EMR = {"code": None, "details": "EMR Serverless job a/7 ended as FAILED"}


class Curated:
    """The tables of a dataset of which an earlier run published a batch, and died before it was in curated."""

    def __init__(self, world: World, dataset: str) -> None:
        self._catalog = open_catalog(world.settings)
        self._name = dataset
        ensure_namespaces(self._catalog)
        self._add(
            RAW,
            {
                batches.SEALED: "true",
                batches.BATCH: "1",
                batches.RUN_ID: "an earlier run",
                batches.GENERATION: "1",
                batches.ROWS: "1",
                batches.QUARANTINED: "0",
            },
        )

    def catch_up(self) -> None:
        self._add(CURATED, {batches.CONSUMED: "1"})

    def _add(self, namespace: str, properties: dict[str, str]) -> None:
        rows = pa.table({"id": pa.array([1], pa.int64())})
        table = self._catalog.create_table((namespace, self._name), rows.schema)
        table.append(rows, snapshot_properties=properties)


@pytest.mark.parametrize("end", [ADOPTED, ON_EMR, {"code": 75}, {"code": 137}], ids=["adopted", "EMR", "75", "137"])
def test_a_load_that_leaves_out_a_dataset_with_nothing_new_is_tried_again(
    world: World, script: Script, new_run: NewRun, end: dict[str, object]
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="empty"))
    world.leave("payments", *STAGES)
    script.then(**end)  # type: ignore[arg-type]
    first = run.task("load", try_number=2)
    assert first.state == "up_for_retry"
    assert "left no load receipt for merchants" in first.message
    # A person who marks the task a success does not make the run one, nor the dataset.
    run.states |= dict.fromkeys(STAGES, "success")
    missing = "load of dataset merchants left no receipt; the task load says why"
    verdict, dataset = run.task("verdict"), run.task("datasets.merchants")
    assert (verdict.state, verdict.message) == ("failed", f"pipeline payments: {missing}")
    dataset = run.resume("datasets.merchants", dataset, {"why": "all stages ended"})
    assert dataset.state == "failed"
    assert missing in dataset.message
    del run.states["datasets.merchants"]
    script.then(lambda: world.leave("merchants", "load", verdict="empty"))
    assert run.task("load", try_number=3).state == "success"
    assert run.task("verdict").state == "success"


@pytest.mark.parametrize("end", [ADOPTED, ON_EMR, {"code": 75}], ids=["adopted", "EMR", "75"])
def test_a_failed_receipt_hides_no_dataset_that_load_left_out(
    world: World, script: Script, new_run: NewRun, end: dict[str, object]
) -> None:
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="empty"))
    world.leave("payments", "extract", "check")
    script.then(lambda: world.leave("payments", "load", verdict="failed", code=1), **end)  # type: ignore[arg-type]
    load = run.task("load")
    assert load.state == "up_for_retry"
    assert "left no load receipt for merchants" in load.message
    script.then(lambda: world.leave("merchants", "load", verdict="empty"), code=65)
    assert run.task("load", try_number=2).state == "failed"


@pytest.mark.parametrize("end", [ADOPTED, ON_EMR, {"code": 75}], ids=["adopted", "EMR", "75"])
@pytest.mark.parametrize("stopped_by", ["failed", "superseded"])
def test_load_looks_at_a_dataset_that_an_earlier_stage_stopped(
    world: World, script: Script, new_run: NewRun, stopped_by: Verdict, end: dict[str, object]
) -> None:
    # It brings what earlier runs published. Only a process that says how it ended can say that it did.
    run = new_run("payments")
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict=stopped_by, code=1 if stopped_by == "failed" else 0)
    script.then(**end)  # type: ignore[arg-type]
    assert run.task("load", try_number=2).state == "up_for_retry"
    script.then(lambda: world.leave("payments", "load", verdict="empty"), **ADOPTED)  # type: ignore[arg-type]
    assert run.task("load", try_number=3).state == "success"


@pytest.mark.parametrize("end", [ADOPTED, ON_EMR, {"code": 75}], ids=["adopted", "EMR", "75"])
@pytest.mark.parametrize("beside", ["alone", "beside a failure"])
def test_a_check_that_leaves_curated_behind_is_tried_again(
    world: World, script: Script, new_run: NewRun, end: dict[str, object], beside: str
) -> None:
    curated = Curated(world, "merchants")
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="empty"))
    world.leave("payments", "extract")
    fails = beside != "alone"

    def work() -> None:
        world.leave("payments", "check", verdict="failed" if fails else "done", code=1 if fails else 0)

    script.then(work, **end)  # type: ignore[arg-type]
    first = run.task("check", try_number=2)
    assert first.state == "up_for_retry"
    assert "left the current state of merchants behind its published batches" in first.message
    script.then(curated.catch_up, **({"code": 65} if fails else ADOPTED))  # type: ignore[arg-type]
    assert run.task("check", try_number=3).state == ("failed" if fails else "success")


def test_a_check_that_says_it_is_done_is_not_asked_for_what_another_run_published_meanwhile(
    world: World, script: Script, new_run: NewRun
) -> None:
    Curated(world, "merchants")
    run = new_run("merchants")
    run.planned(world.plan(merchants="empty"))
    script.then(code=0)
    assert run.task("check").state == "success"


def test_a_current_state_that_cannot_be_caught_up_is_a_failure_and_no_work(
    world: World, script: Script, new_run: NewRun
) -> None:
    Curated(world, "merchants")
    run = new_run("merchants")
    run.planned(world.plan(merchants="empty"))
    world.leave("merchants", "check", verdict="failed", code=1)
    check = run.task("check", try_number=2)
    assert (check.state, script.submitted) == ("failed", [])
    assert "check of dataset merchants failed: amount is negative" in check.message


@pytest.mark.parametrize("end", [ADOPTED, {"code": 0}], ids=["adopted", "0"])
def test_where_nothing_is_owed_everything_is_green(
    world: World, script: Script, new_run: NewRun, end: dict[str, object]
) -> None:
    # Merchants never had any data: no table is there, load says that there is nothing, and check leaves no receipt.
    world.views = (VIEW,)
    run = new_run("payments", "merchants", "refunds")
    run.planned(world.plan(payments="planned", merchants="empty", refunds="skipped"))
    world.leave("payments", "extract")
    script.then(lambda: world.leave("payments", "check"), **end)  # type: ignore[arg-type]

    def load() -> None:
        world.leave("payments", "load")
        world.leave("merchants", "load", verdict="empty")
        world.leave_view(VIEW)

    script.then(load, **end)  # type: ignore[arg-type]
    tasks = [*STAGES, "verdict"]
    assert [run.task(task, try_number=2).state for task in tasks] == ["success"] * 4
    assert run.task("datasets.merchants").state == "skipped"
    assert [work.stage for work in script.submitted] == ["check", "load"]


def test_a_batch_that_is_on_its_way_is_not_owed_to_load(world: World, script: Script, new_run: NewRun) -> None:
    # Check has not come to it, which is the failure of check alone.
    run = new_run("payments", "merchants")
    run.planned(world.plan(payments="planned", merchants="empty"))
    world.leave("payments", "extract")
    script.then(lambda: world.leave("merchants", "load", verdict="empty"), **ADOPTED)  # type: ignore[arg-type]
    assert run.task("load", try_number=2).state == "success"
    verdict = run.task("verdict")
    assert verdict.message == "pipeline payments: check of dataset payments left no receipt; the task check says why"


def test_views_alone_are_owed_where_nothing_is_new(world: World, script: Script, new_run: NewRun) -> None:
    world.views = (VIEW,)
    run = new_run("merchants")
    run.planned(world.plan(merchants="empty"))
    world.leave("merchants", "load", verdict="empty")
    script.then(**ADOPTED)  # type: ignore[arg-type]
    assert run.task("load", try_number=2).state == "up_for_retry"
    script.then(lambda: world.leave_view(VIEW), **ADOPTED)  # type: ignore[arg-type]
    assert run.task("load", try_number=3).state == "success"
    assert RunRecord.newest(world.settings, run.xcom("plan")).is_complete()
