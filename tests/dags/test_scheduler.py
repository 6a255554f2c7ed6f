"""A real Airflow on this machine: scheduler, executor, triggerer and API, over a table in MariaDB."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pymysql
import pytest
from google.cloud import bigquery

from connectors.connection import Connection
from connectors.errors import UsageError
from jobs.lake.documents import open_documents
from jobs.launch.processes import has_ended
from jobs.runs.receipts import Receipt, Receipts
from jobs.warehouse.client import open_warehouse
from local_airflow import rest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.runtime.settings import Settings
from jobs.spec.consistency import PAGE_DAG

STANDALONE = Path(__file__).resolve().parents[2] / "docker" / "airflow" / "local_airflow" / "standalone.py"
PIPELINE = """pipeline: {name}
{schedule}source: {{type: aurora, connection: {connection}}}
datasets:
  - name: {name}_sales
    table: {database}.sales
    primary_key: [id]
    cursor: updated_at
    lag_seconds: 1
    write_disposition: merge
    bigquery: {{table: {database}.{name}_sales}}
"""
FOLLOWER = """pipeline: {name}_after
schedule: {{after: [{name}_sales]}}
airflow: {{pool: none of these}}
datasets:
  - name: {name}_sums
    inputs: [{name}_sales]
    transform: merchant_sales:daily
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: {name}_shop.sums}}
"""
"""Its pool is not there, so its runs begin and do nothing."""
VIEWS = """views:
  - {{name: {database}.{name}_amounts, sql: amounts.sql}}
  - {{name: {database}.{name}_total, sql: total.sql}}
"""
NOTIFIED = """airflow:
  notify: {{failure: [{notifier}]}}
  deadline: {{after: 1 min, notify: [{notifier}]}}
"""
pytestmark = pytest.mark.timeout(1500)


@dataclass
class World:
    """An Airflow with one pipeline, whose connection stands in Airflow's own database alone."""

    name: str
    database: str
    settings: Settings
    mariadb: Connection

    @property
    def dataset(self) -> str:
        return f"{self.name}_sales"

    def sql(self, *statements: str) -> None:
        with (
            pymysql.connect(
                host=str(self.mariadb.host),
                port=int(self.mariadb.port or 3306),
                user=str(self.mariadb.login),
                password=str(self.mariadb.password),
                autocommit=True,
            ) as client,
            client.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def run(self, conf: dict[str, Any] | None = None) -> tuple[str, str, dict[str, str | None]]:
        run = rest.trigger(self.name, conf)
        state = rest.wait(self.name, run)
        return run, state, rest.task_states(self.name, run)

    def airflow(self, *arguments: str) -> None:
        """The `airflow` command, in a shell that has read this Airflow's variables.

        Where a savepoint of Airflow's read before its scheduler wrote, SQLite answers "database is locked", however
        long it would wait; Airflow takes back what it began. A person who types the command types it again.
        """
        variables = self.settings.state_dir / "airflow" / "env.sh"
        command = f". {variables}; exec airflow {' '.join(arguments)}"
        for _ in range(5):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=300)
            if done.returncode == 0 or "database is locked" not in done.stderr + done.stdout:
                break
        assert done.returncode == 0, done.stdout + done.stderr

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table or view of BigQuery, sorted."""
        found = open_warehouse(self.settings).query(f"SELECT * FROM {self.database}.{table}")
        return sorted(tuple(row) for row in found)

    def heard(self, pipeline: str) -> list[tuple[str, str]]:
        """Who called the notifier for runs of a pipeline, and for which."""
        file = self.settings.state_dir / "heard.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(caller, run) for caller, dag_id, run in lines if dag_id == pipeline]

    def receipts(self, run: str) -> dict[str, Receipt]:
        found = Receipts(open_documents(self.settings.lake)).of_run(self.name, run)
        return {receipt.stage: receipt for receipt in found}


@pytest.fixture(scope="module")
def world(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("airflow")
    name = f"af{os.getpid()}"
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    for pipeline, schedule in ((name, ""), (f"{name}_daily", 'schedule: "@daily"\n')):
        text = PIPELINE.format(name=pipeline, schedule=schedule, connection=f"{name}_db", database=f"{name}_shop")
        (pipelines / f"{pipeline}.yaml").write_text(text)
    with (pipelines / f"{name}.yaml").open("a") as file:
        file.write(VIEWS.format(name=name, database=f"{name}_shop"))
    (pipelines / "amounts.sql").write_text(f"SELECT id, amount FROM {name}_shop.{name}_sales")
    (pipelines / "total.sql").write_text(f"SELECT SUM(amount) AS total FROM {name}_shop.{name}_sales")
    notifier = f"{{notifier: tests.dags.file_notifier.FileNotifier, arguments: {{path: {folder}/heard.jsonl}}}}"
    half = PIPELINE.format(name=f"{name}_half", schedule="", connection=f"{name}_db", database=f"{name}_shop")
    gone = half.partition("datasets:\n")[2].replace(f"{name}_half_sales", f"{name}_gone").replace(".sales\n", ".gone\n")
    (pipelines / f"{name}_half.yaml").write_text(half + gone + NOTIFIED.format(notifier=notifier))
    (pipelines / f"{name}_after.yaml").write_text(FOLLOWER.format(name=name))
    (pipelines / "broken.yaml").write_text("pipeline: broken\n")
    own = settings.model_copy(
        update={
            "lake": f"file://{folder}/lake",
            "catalog": f"sqlite:///{folder}/catalog.db",
            "pipelines": pipelines,
            "state_dir": folder,
            "warehouse_ledger_dataset": f"{name}_ledger",
            # A schedule would begin a run before the connection is there.
            "dags_paused": True,
            # Once, and no more while the tests run.
            "page_minutes": 1440,
            "task_retry_delay_seconds": 1,
        }
    )
    mariadb = Connection.parse("aurora_payments", os.environ["AIRFLOW_CONN_AURORA_PAYMENTS"])
    made = World(name, f"{name}_shop", own, mariadb)
    made.sql(
        f"CREATE DATABASE {made.database}",
        f"CREATE TABLE {made.database}.sales (id INT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, "
        "updated_at DATETIME(6) NOT NULL, KEY (updated_at))",
        f"INSERT INTO {made.database}.sales VALUES (1, 10.50, '2026-11-20 01:00:00')",
        f"INSERT INTO {made.database}.sales VALUES (2, 20.00, '2026-11-20 02:00:00')",
    )
    values = own.model_dump(exclude_none=True)
    variables = {f"LAKEFERRY_{key.upper()}": str(value) for key, value in values.items()}
    variables["LAKEFERRY_AIRFLOW_PORT"] = str(_free_port())
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        _standalone("start")
        _add_connection(f"{name}_db", mariadb)
        for dag in rest.paused() - {f"{name}_after"}:
            rest.pause(dag, False)
        yield made
    finally:
        _standalone("stop")
        os.environ.clear()
        os.environ.update(before)
        made.sql(f"DROP DATABASE {made.database}")
        warehouse = open_warehouse(own)
        for dataset in (made.database, f"{name}_ledger"):
            warehouse.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        shutil.rmtree(folder / "lake", ignore_errors=True)


def test_the_web_ui_says_which_file_is_broken_and_the_others_live(world: World) -> None:
    assert rest.dag_ids() == [
        world.name,
        *(f"{world.name}_{more}" for more in ("after", "daily", "half")),
        PAGE_DAG,
    ]
    (problem,) = rest.import_errors().values()
    assert "broken.yaml:1 pipeline broken: key 'datasets' is missing. Add datasets" in problem


def test_a_run_goes_from_source_to_warehouse_and_the_next_moves_nothing(world: World) -> None:
    """One of its views cannot be made at first: that is the run's failure, and no dataset's. The emulator refuses no
    SQL, but it has a table where the view belongs."""
    warehouse = open_warehouse(world.settings).client
    warehouse.create_dataset(world.database)
    in_its_place = f"{warehouse.project}.{world.database}.{world.name}_total"
    warehouse.create_table(bigquery.Table(in_its_place, schema=[bigquery.SchemaField("total", "INT64")]))
    world.airflow("dags", "trigger", world.name)
    [run] = [run["dag_run_id"] for run in rest.runs(world.name)]
    state, tasks = rest.wait(world.name, run), rest.task_states(world.name, run)
    assert state == "failed", tasks
    assert {task for task, state in tasks.items() if state == "failed"} == {"load", "verdict"}, tasks
    assert tasks[f"datasets.{world.dataset}"] == "success"
    for task in ("load", "verdict"):
        assert f"view {world.database}.{world.name}_total failed: total.sql" in rest.task_log(world.name, run, task)
    assert world.rows(f"{world.name}_amounts") == [(1, Decimal("10.50")), (2, Decimal("20.00"))]
    warehouse.delete_table(in_its_place)
    rest.clear(world.name, run, ["plan"])
    state, tasks = rest.wait(world.name, run), rest.task_states(world.name, run)
    assert state == "success", tasks
    assert set(tasks.values()) == {"success"}
    assert world.rows(f"{world.name}_total") == [(Decimal("30.50"),)]
    left = world.receipts(run)
    assert left["extract"].source_rows == 2
    assert left["check"].published == 2
    assert left["load"].loaded == 2
    events = _events_of(world)
    assert {event["uri"] for event in events} == {
        f"x-lakeferry://lake/{world.dataset}",
        f"bigquery://{world.settings.warehouse_project}/{world.database}/{world.dataset}",
    }
    assert {(event["extra"]["batch"], event["extra"]["rows"]) for event in events} == {(1, 2)}
    run, state, tasks = world.run()
    assert state == "success", tasks
    assert tasks[f"datasets.{world.dataset}"] == "skipped"
    assert world.receipts(run)["plan"].verdict == "empty"
    assert len(_events_of(world)) == 2


def test_what_is_published_while_a_follower_is_paused_starts_no_run_of_it(world: World) -> None:
    follower = f"{world.name}_after"
    [published] = [event for event in _events_of(world) if event["uri"].startswith("x-lakeferry:")]
    rest.pause(follower, False)
    try:
        assert rest.call("GET", f"/dags/{follower}/assets/queuedEvents")["queued_events"] == []
        assert rest.runs(follower) == []
        rest.call("POST", "/assets/events", {"asset_id": published["asset_id"], "extra": {}})
        until = time.monotonic() + 60
        while not (runs := rest.runs(follower)):
            assert time.monotonic() < until, "what is published after the pause starts a run"
            time.sleep(0.2)
        assert [run["run_type"] for run in runs] == ["asset_triggered"]
    finally:
        rest.pause(follower, True)


def test_the_page_is_drawn_by_a_dag_of_its_own_that_begins_by_itself(world: World) -> None:
    *_, begun = [run["dag_run_id"] for run in rest.runs(PAGE_DAG)]
    assert rest.wait(PAGE_DAG, begun) == "success"
    assert rest.wait(PAGE_DAG, rest.trigger(PAGE_DAG, None)) == "success"
    page = open_documents(world.settings.lake).read("page/index.html")
    # The run of the test before this one, which moved nothing, and the first one.
    assert f'<article class="card fine" id="{world.dataset}">' in page


def test_a_conf_that_breaks_the_form_is_refused_before_anything_runs(world: World) -> None:
    known = len(rest.runs(world.name))
    for conf in ({"datasets": "refunds"}, {"start": "yesterday"}, {"datasets": []}):
        with pytest.raises(UsageError, match="Airflow refuses"):
            rest.trigger(world.name, conf)
    assert len(rest.runs(world.name)) == known


def test_a_window_that_makes_no_sense_fails_plan_at_once_and_says_why(world: World) -> None:
    run, state, tasks = world.run({"start": "2026-11-20T02:00:00Z", "end": "2026-11-20T01:00:00Z"})
    assert state == "failed"
    assert tasks["plan"] == "failed"
    assert tasks["extract"] == tasks["check"] == tasks["load"] == "skipped"
    assert "the window is empty" in rest.task_log(world.name, run, "plan")
    assert world.receipts(run) == {}


def test_a_dataset_that_cannot_be_planned_is_its_own_failure(world: World) -> None:
    half = f"{world.name}_half"
    run = rest.trigger(half)
    assert rest.wait(half, run) == "failed"
    tasks = rest.task_states(half, run)
    assert {task for task, state in tasks.items() if state == "failed"} == {
        "plan",
        "verdict",
        f"datasets.{world.name}_gone",
    }, tasks
    assert f"table {world.database}.gone is not there" in rest.task_log(half, run, "plan")
    left = Receipts(open_documents(world.settings.lake)).of_run(half, run)
    loaded = [receipt for receipt in left if receipt.stage == "load"]
    assert [(receipt.dataset, receipt.loaded) for receipt in loaded] == [(f"{half}_sales", 2)]


def test_failing_a_task_by_hand_ends_its_processes(world: World) -> None:
    world.sql(f"INSERT INTO {world.database}.sales VALUES (3, 5.00, UTC_TIMESTAMP(6))")
    run = rest.trigger(world.name)
    process = _process_of(world, run)
    path = f"/dags/{world.name}/dagRuns/{quote(run, safe='')}"
    rest.call("PATCH", path, {"state": "failed"})
    assert rest.wait(world.name, run) == "failed"
    until = time.monotonic() + 120
    while not has_ended(process["pid"], process["started"]):
        assert time.monotonic() < until, "the stage outlived its task"
        time.sleep(0.1)


def test_a_stage_whose_task_was_killed_is_found_by_the_retry(world: World) -> None:
    world.sql(f"INSERT INTO {world.database}.sales VALUES (4, 6.00, UTC_TIMESTAMP(6))")
    run = rest.trigger(world.name)
    process = _process_of(world, run)
    # The parent of the stage's process is the task's: what an out-of-memory killer would end.
    os.kill(_parent(process["pid"]), signal.SIGKILL)
    state = rest.wait(world.name, run)
    assert state == "success", rest.task_states(world.name, run)
    assert f"Process {process['pid']} of an earlier try still runs" in rest.task_log(world.name, run, "extract", 2)


def test_a_stage_goes_on_while_its_worker_shuts_down_and_the_retry_finds_it(world: World) -> None:
    world.sql(f"INSERT INTO {world.database}.sales VALUES (5, 7.00, UTC_TIMESTAMP(6))")
    run = rest.trigger(world.name)
    process = _process_of(world, run)
    # The shutdown of a worker sends SIGTERM to the task's supervisor, which passes it on from Airflow 3.3 on.
    os.kill(_parent(_parent(process["pid"])), signal.SIGTERM)
    state = rest.wait(world.name, run)
    assert state == "success", rest.task_states(world.name, run)
    log = rest.task_log(world.name, run, "extract", 1)
    assert "the job goes on, and the next try, or this task once it is cleared, waits for it" in log
    assert f"Process {process['pid']} of an earlier try still runs" in rest.task_log(world.name, run, "extract", 2)


def test_a_schedule_begins_runs_and_a_backfill_brings_what_a_window_holds(world: World) -> None:
    daily = f"{world.name}_daily"
    [scheduled] = [run for run in rest.runs(daily) if run["run_type"] == "scheduled"]
    state = rest.wait(daily, scheduled["dag_run_id"])
    assert state == "success", rest.task_states(daily, scheduled["dag_run_id"])
    # Stamped into a day that is long past, so no scheduled window will hold it.
    world.sql(f"INSERT INTO {world.database}.sales VALUES (9, 9.00, '2026-11-20 12:00:00')")
    world.airflow("backfill", "create", "--dag-id", daily, "--from-date", "2026-11-20", "--to-date", "2026-11-20")
    [backfill] = [run["dag_run_id"] for run in rest.runs(daily) if run["run_type"] == "backfill"]
    state = rest.wait(daily, backfill)
    assert state == "success", rest.task_states(daily, backfill)
    left = {r.stage: r for r in Receipts(open_documents(world.settings.lake)).of_run(daily, backfill)}
    assert (left["plan"].window_start, left["plan"].window_end) == (
        "2026-11-20 00:00:00.000000",
        "2026-11-21 00:00:00.000000",
    )
    assert left["check"].published == left["load"].loaded == 3
    table = f"{world.settings.warehouse_project}.{world.database}.{daily}_sales"
    rows = open_warehouse(world.settings).query(f"SELECT id FROM `{table}` WHERE id IN (1, 2, 9) ORDER BY id")
    assert [row[0] for row in rows] == [1, 2, 9]
    again = rest.trigger(daily)
    assert rest.wait(daily, again) == "success"
    [plan] = [r for r in Receipts(open_documents(world.settings.lake)).of_run(daily, again) if r.stage == "plan"]
    # The schedule goes on where it was: the backfill did not move it.
    assert str(plan.window_start) > "2026-11-21"
    _asked_again(world, daily, scheduled["dag_run_id"], backfill)


def _asked_again(world: World, daily: str, scheduled: str, backfill: str) -> None:
    """A second backfill of the day keeps the run id and moves the day again; a cleared run moves nothing twice."""
    world.sql(f"INSERT INTO {world.database}.sales VALUES (10, 10.00, '2026-11-20 13:00:00')")
    day = ("--from-date", "2026-11-20", "--to-date", "2026-11-20")
    # The scheduler closes a backfill some time after its last run, and Airflow refuses a second one until then.
    until = time.monotonic() + 120
    while any(each["completed_at"] is None for each in rest.every(f"/backfills?dag_id={daily}", "backfills")):
        assert time.monotonic() < until, "the scheduler does not close the backfill"
        time.sleep(0.5)
    world.airflow("backfill", "create", "--dag-id", daily, *day, "--reprocess-behavior", "completed")
    assert rest.wait(daily, backfill) == "success", rest.task_states(daily, backfill)
    loads = [r for r in Receipts(open_documents(world.settings.lake)).of_run(daily, backfill) if r.stage == "load"]
    assert [(load.generation, load.loaded) for load in loads] == [(1, 3), (2, 4)]
    rest.clear(daily, scheduled, ["plan"])
    assert rest.wait(daily, scheduled) == "success"
    assert set(rest.task_states(daily, scheduled).values()) == {"skipped"}
    said = rest.task_log(daily, scheduled, "plan", 2)
    assert "To move a past window, ask for it with start and end" in said


def test_those_who_are_named_hear_once_of_a_run_that_failed_and_of_one_that_is_late(world: World) -> None:
    """The deadline of a run that failed passes as well: the data is not there."""
    half = f"{world.name}_half"
    [run] = [run["dag_run_id"] for run in rest.runs(half)]
    until = time.monotonic() + 120
    while len(world.heard(half)) < 2 and time.monotonic() < until:
        time.sleep(0.5)
    assert sorted(world.heard(half)) == [("deadline", run), ("run", run)]


def _events_of(world: World) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = rest.call("GET", "/assets/events?limit=100")["asset_events"]
    return [event for event in events if event["uri"].endswith(f"/{world.dataset}")]


def _process_of(world: World, run: str) -> dict[str, Any]:
    """The process of the run's extract stage, once it is there."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        for path in (world.settings.state_dir / "jobs").rglob("extract.json"):
            listed: dict[str, Any] = json.loads(path.read_text() or "{}")
            if quote(run, safe="").replace("%", "=") in str(listed.get("plan_uri")):
                return listed
        time.sleep(0.1)
    raise AssertionError(f"no extract process of {run}")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _add_connection(connection_id: str, connection: Connection) -> None:
    rest.call(
        "POST",
        "/connections",
        {
            "connection_id": connection_id,
            "conn_type": "mysql",
            "host": connection.host,
            "port": connection.port,
            "login": connection.login,
            "password": connection.password,
        },
    )


def _standalone(command: str) -> None:
    subprocess.run([sys.executable, str(STANDALONE), command], check=True, timeout=600)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
