"""The world of end-to-end tests: a lake and warehouse of their own, databases of their own, runs.

Most runs are in this process, over the one Spark session; what must be killed runs in a process of its own.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
from google.cloud import bigquery
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, IsNull
from pymysql.cursors import Cursor

import jobs.cli.run
from connectors.base import Window
from connectors.connection import find_connection
from jobs.cli import app as cli
from jobs.cli.run import run_pipeline
from jobs.lake.batch_log import PublishedBatch, published_batches
from jobs.lake.catalog import open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.schema import DELETED_COLUMN
from jobs.runs.plan_document import Plan
from jobs.runs.receipts import Receipt, Receipts, Stage
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipeline
from jobs.stages.loop import run_stages
from jobs.stages.plan.planner import make_plan


@dataclass
class Ran:
    """The result of a run: its exit code, plan and receipts."""

    code: int
    plan: Plan
    receipts: list[Receipt]

    def receipt(self, stage: str, dataset: str) -> Receipt:
        return next(r for r in self.receipts if r.stage == stage and r.dataset == dataset)


@dataclass
class Ferry:
    """One lake and warehouse; specs and suites are written as tests need them."""

    folder: Path
    environment: dict[str, str]
    settings: Settings
    warehouse: bigquery.Client
    datasets: list[str] = field(default_factory=list)

    def spec(self, text: str) -> str:
        """Write a pipeline's YAML; returns the pipeline's name."""
        text = textwrap.dedent(text)
        name = text.strip().splitlines()[0].removeprefix("pipeline:").strip()
        (self.folder / "pipelines" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return name

    def suite(self, name: str, text: str) -> str:
        (self.folder / "expectations" / f"{name}.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
        return name

    def warehouse_dataset(self) -> str:
        """A BigQuery dataset that is removed afterwards."""
        name = f"e2e_{uuid.uuid4().hex[:8]}"
        self.datasets.append(name)
        return name

    def plan(self, pipeline: str, run_id: str, window: Window | None = None) -> Plan:
        spec = load_pipeline(self.settings.pipelines, pipeline)
        return make_plan(spec, run_id, self.settings, window=window)

    def run(
        self, pipeline: str, run_id: str | None = None, window: Window | None = None, *, through: Stage = "load"
    ) -> Ran:
        """Run all stages up to `through`, in this process: through `load` as `lakeferry run` does, with what it submits
        in the one Spark session. A run that ends well is compared with what BigQuery holds."""
        run_id = run_id or f"run-{uuid.uuid4().hex[:8]}"
        if through == "load":
            spec = load_pipeline(self.settings.pipelines, pipeline)
            with pytest.MonkeyPatch.context() as replaced:
                # The page reads what every pipeline of the lake has left, and this lake has those of all tests before.
                replaced.setattr(jobs.cli.run, "refresh_page", lambda _: None)
                code, plan = run_pipeline(spec, self.settings, run_id=run_id, window=window, submit=_submit_here)
        else:
            plan = self.plan(pipeline, run_id, window)
            code = self.run_stage(plan, "transform" if plan.spec.datasets[0].derived else "extract", through)
            code = max(code, *(failure.exit_code for failure in plan.failures.values()), 0)
        ran = Ran(code, plan, self.receipts(pipeline, run_id))
        if code == 0 and through == "load":
            self._assert_delivered(ran)
        return ran

    def _assert_delivered(self, ran: Ran) -> None:
        """Read = published + quarantined, and BigQuery has as many rows as the lake's current state."""
        for receipt in ran.receipts:
            if receipt.stage == "check" and receipt.verdict == "done":
                assert receipt.published is not None
                assert receipt.quarantined is not None
                assert receipt.read == receipt.published + receipt.quarantined, receipt
        for dataset in ran.plan.datasets:
            identifier = ("curated", dataset.name)
            if dataset.state == "planned" and self.catalog.table_exists(identifier):
                curated = self.catalog.load_table(identifier)
                swept = DELETED_COLUMN in curated.schema().column_names
                live = curated.scan(IsNull(term=DELETED_COLUMN) if swept else AlwaysTrue()).count()
                target = f"{self.settings.warehouse_project}.{ran.plan.spec.dataset(dataset.name).bigquery.table}"
                marked = any(column.name == DELETED_COLUMN for column in self.warehouse.get_table(target).schema)
                where = f"WHERE {DELETED_COLUMN} IS NULL" if marked else ""
                [counted] = self.warehouse.query(f"SELECT COUNT(*) AS n FROM `{target}` {where}").result(timeout=60)
                assert counted["n"] == live, f"{dataset.name}: {counted['n']} rows in BigQuery, {live} live in curated"

    def receipts(self, pipeline: str, run_id: str) -> list[Receipt]:
        """Returns the result of a run."""
        return Receipts(open_documents(self.settings.lake)).of_run(pipeline, run_id)

    def run_stage(self, plan: Plan, first: Stage, through: Stage) -> int:
        """Some stages of a plan, in this process."""
        return run_stages(plan.uri, first, through, self.settings)

    def published(self, dataset: str) -> list[PublishedBatch]:
        """The batches on `main` of a dataset."""
        return published_batches(self.catalog.load_table(("raw", dataset)))

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The `lakeferry` command in this process: one of its own imports for two seconds what is here already."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as replaced, redirect_stdout(out), redirect_stderr(err):
            for variable, value in {**self.environment, **environment}.items():
                replaced.setenv(variable, value)
            replaced.setattr(sys, "argv", ["lakeferry", *arguments])
            code = _exit_code(cli.main)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def cli_here(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """As `cli`, and what `run` submits runs here too, in the one Spark session: a JVM of its own starts for ten CPU
        seconds. A test of what is submitted, or of how that ends, takes `cli` or `process`."""

        with pytest.MonkeyPatch.context() as replaced:
            replaced.setattr(jobs.cli.run, "submit_application", _submit_here)
            return self.cli(*arguments, **environment)

    def process(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The `lakeferry` command, in a process of its own."""
        command = [str(Path(sys.executable).parent / "lakeferry"), *arguments]
        return subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def catalog(self) -> Catalog:
        return open_catalog(self.settings)

    def documents_of(self, pipeline: str) -> list[str]:
        """Keys of every plan and receipt of a pipeline."""
        documents = open_documents(self.settings.lake)
        return [key for folder in ("plans", "receipts") for key in documents.list(f"{folder}/{pipeline}/")]

    def document(self, key: str) -> str:
        return open_documents(self.settings.lake).read(key)

    def snapshot(self, namespace: str, dataset: str) -> int | None:
        """The current snapshot of a table; None if it has no snapshot."""
        table = self.catalog.load_table((namespace, dataset))
        current = table.current_snapshot()
        return current.snapshot_id if current else None

    def lake_rows(self, namespace: str, dataset: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.catalog.load_table((namespace, dataset)).scan().to_arrow().to_pylist()
        return rows

    def warehouse_rows(self, table: str, columns: str = "*") -> list[dict[str, Any]]:
        """Rows of a BigQuery table, read by Google's client."""
        query = self.warehouse.query(f"SELECT {columns} FROM `{self.settings.warehouse_project}.{table}`")
        return [dict(row.items()) for row in query.result(timeout=60)]


class OwnDatabase:
    """A database of a test's own on MariaDB or TiDB, and statements in it."""

    def __init__(self, connection_id: str) -> None:
        found = find_connection(connection_id)
        self.name = f"e2e_{uuid.uuid4().hex[:8]}"
        self.password = found.password or ""
        self._connection = pymysql.connect(
            host=found.host,
            port=found.port or 3306,
            user=found.login,
            password=found.password or "",
            charset="utf8mb4",
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
        )
        self.execute(f"CREATE DATABASE {self.name} DEFAULT CHARACTER SET utf8mb4")
        self.execute(f"USE {self.name}")

    def execute(self, statement: str, values: object = None) -> None:
        with self._cursor() as cursor:
            cursor.execute(statement, values)

    def insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join(["%s"] * len(rows[0]))
        with self._cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def now(self) -> datetime:
        """The server's own UTC clock."""
        moment: datetime = self.rows("SELECT UTC_TIMESTAMP(6)")[0][0]
        return moment

    def settle(self, beside: OwnDatabase | None = None) -> None:
        """Wait until what is there now is older than a lag of one second, by the server's clock, and no transaction of
        another test is open that would hold a window back; that of `beside` may be."""
        late_enough = self.now() + timedelta(seconds=1)
        # A whole second, as the server notes when a transaction began: one that begins from here on is later, too.
        # TiDB rounds UTC_TIMESTAMP(0) where InnoDB cuts it off, so the second is computed here.
        until = late_enough.replace(microsecond=0) + timedelta(seconds=1)
        # The server waits by itself: asked without a pause it would take a core from the other tests.
        while self.rows("SELECT UTC_TIMESTAMP(6), SLEEP(0.05)")[0][0] < until:
            pass
        mine = beside.rows("SELECT CONNECTION_ID()")[0][0] if beside else 0
        if "TiDB" in str(self.rows("SELECT VERSION()")[0][0]):
            others = (
                f"information_schema.cluster_tidb_trx WHERE session_id NOT IN (CONNECTION_ID(), {mine})"
                f" AND TIDB_PARSE_TSO(id) <= '{late_enough}'"
            )
        else:
            others = (
                f"information_schema.innodb_trx WHERE trx_mysql_thread_id NOT IN (CONNECTION_ID(), {mine})"
                f" AND trx_started <= '{late_enough}'"
            )
        # InnoDB renews its list only if nobody has looked at it for a tenth of a second.
        while self.rows(f"SELECT COUNT(*) FROM {others}")[0][0]:
            self.rows("SELECT SLEEP(0.3)")

    def close(self) -> None:
        self.execute(f"DROP DATABASE {self.name}")
        self._connection.close()

    def _cursor(self) -> Cursor:
        return self._connection.cursor()


def _submit_here(
    stage: Stage, plan_uri: str, through: Stage, settings: Settings, errors: list[str], plan_again: bool
) -> int:
    return run_stages(plan_uri, stage, through, settings)


def _exit_code(command: Callable[[], None]) -> int:
    """How a process that calls the command would end."""
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        signal.signal(signal.SIGINT, interrupted)
    return 0


def events_of(ran: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON lines a command printed."""
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
