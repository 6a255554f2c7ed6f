"""The demo: five pipelines carry the sample from four systems into the warehouse, twice.  demo.py [--rows N]

Each table's last column compares three parties: the receipts of the runs, BigQuery, and the sources as
they count themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    _ROOT = Path(__file__).resolve().parents[1]
    sys.path[:1] = [str(_ROOT), *(str(_ROOT / folder) for folder in ("dags", "docker/sample", "docker/airflow"))]

import databases
from rich.console import Console
from rich.table import Table
from seed import rows_setting
from world import World

from connectors.errors import LakeferryError, RunnerFailed
from jobs.lake.documents import open_documents
from jobs.runs.receipts import STAGES, Receipt, Receipts
from jobs.runtime.project import CODE_ROOT
from jobs.runtime.settings import Settings, load_settings
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import load_pipelines
from jobs.warehouse.client import open_warehouse
from local_airflow import rest, standalone

DERIVED = "merchant_sales"
_LOOK_SECONDS = 4
"""Each look asks Airflow, which shares the cores with the pipelines."""
GOOD_PAYMENT = "amount >= 0 AND status <> 'LEGACY' AND currency IS NOT NULL"
SQL_COUNTS = {
    "payments": ("aurora_payments", f"SELECT COUNT(*) FROM shop.payments WHERE {GOOD_PAYMENT}"),
    "merchants": ("aurora_payments", "SELECT COUNT(*) FROM shop.merchants"),
    "balance_entries": ("tidb_wallet", "SELECT COUNT(*) FROM wallet.balance_entries"),
    "daily_merchant_sales": (
        "aurora_payments",
        "SELECT COUNT(DISTINCT DATE(created_at + INTERVAL 9 HOUR), merchant_id, currency) FROM shop.payments"
        f" WHERE {GOOD_PAYMENT}",
    ),
}
"""Rows each BigQuery table must hold, asked of the source itself."""


class Demo:
    """One showing of the whole way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
        self.specs: dict[str, PipelineSpec] = load_pipelines(settings.pipelines)[0]
        self.sample: dict[str, dict[str, int]] = {}
        self.rows_before: dict[str, int] = {}

    def say(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        self.console.print(f"[cyan]{minutes:02}:{seconds:02}[/] {text}")

    def script(self, name: str, *arguments: str) -> None:
        """Run one of the sample's scripts; what it counted is added to what was counted before."""
        command = [sys.executable, str(CODE_ROOT / "docker" / "sample" / name), *arguments]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ran.returncode:
            raise RunnerFailed(f"{name} ended with code {ran.returncode}", fix="What it said stands above")
        for dataset, counts in json.loads(ran.stdout).items():
            kept = self.sample.setdefault(dataset, {"bad": 0, "changed": 0})
            kept |= {
                "total": counts["total"],
                "bad": kept["bad"] + counts["bad"],
                "changed": kept["changed"] + counts["changed"],
            }

    def carry(self) -> dict[str, list[str]]:
        """Trigger the pipelines with a source and wait for all, and for the derived one; run ids by DAG."""
        before = {run["dag_run_id"] for run in rest.runs(DERIVED)}
        triggered = {name: rest.trigger(name) for name in self.specs if name != DERIVED}
        self._watch(triggered)
        runs = {name: [run_id] for name, run_id in triggered.items()} | {DERIVED: []}
        if self._published(runs["payments"][0]):
            self.say(f"waiting for {DERIVED}, which starts by itself when payments or merchants were written")
            runs[DERIVED] = self._wait_for_derived(before)
        return runs

    def _published(self, run_id: str) -> bool:
        receipts = Receipts(open_documents(self.settings.lake)).of_run("payments", run_id)
        return any(receipt.published for receipt in receipts)

    def _watch(self, runs: Mapping[str, str]) -> None:
        """Until each DAG's run has ended, saying which stage each has come to."""
        going, seen = dict(runs), set()
        while going:
            for name, run_id in list(going.items()):
                tasks = rest.task_states(name, run_id)
                for stage in STAGES:
                    if tasks.get(stage) == "running" and (name, stage) not in seen:
                        seen.add((name, stage))
                        self.say(f"{name:<16} {stage} …")
                state = rest.run_state(name, run_id)
                if state in ("success", "failed"):
                    del going[name]
                    self._ended(name, run_id, state)
            time.sleep(_LOOK_SECONDS)

    def _ended(self, name: str, run_id: str, state: str) -> None:
        self.say(f"{name:<16} {'[green]done[/]' if state == 'success' else '[red]' + state + '[/]'}")
        if state != "success":
            tasks = ", ".join(f"{task} {state}" for task, state in rest.task_states(name, run_id).items())
            raise RunnerFailed(
                f"DAG {name}, run {run_id} ended {state}: {tasks}", fix=f"make airflow, then look at {rest.address()}"
            )

    def _wait_for_derived(self, before: set[str]) -> list[str]:
        """Wait until the runs that the inputs' events start have ended; their ids.

        An input's event that comes after a run has started begins another run. One that is left out here would be
        counted with the next carry, in which it reads nothing.
        """
        ended: list[str] = []
        until = time.monotonic() + 600
        while time.monotonic() < until:
            # In this order: an event that is no longer queued has its run.
            waiting = rest.queued_events(DERIVED)
            fresh = [run["dag_run_id"] for run in rest.runs(DERIVED) if run["dag_run_id"] not in {*before, *ended}]
            for run_id in fresh:
                self._watch({DERIVED: run_id})
                # The limit is for a run to begin: one that runs has no limit here.
                until = time.monotonic() + 600
            ended += fresh
            if ended and not fresh and not waiting:
                return ended
            time.sleep(1)
        raise RunnerFailed(f"DAG {DERIVED} did not start and end within 10 minutes", fix=f"Look at {rest.address()}")

    def table(self, title: str, runs: Mapping[str, list[str]]) -> bool:
        """Show what landed where; whether everything is reconciled."""
        headers = (
            "dataset",
            "source rows",
            "read",
            "published",
            "quarantined",
            "replaced",
            "BigQuery rows",
            "reconciled",
        )
        table = Table(*headers, title=title, title_justify="left")
        whole = True
        receipts = Receipts(open_documents(self.settings.lake))
        for pipeline, spec in self.specs.items():
            of_runs = [receipt for run_id in runs[pipeline] for receipt in receipts.of_run(pipeline, run_id)]
            for dataset in spec.datasets:
                cells, reconciled = self._row(dataset.name, dataset.bigquery.table, of_runs)
                whole &= reconciled
                table.add_row(
                    dataset.name, *(f"{cell:,}" for cell in cells), "[green]yes[/]" if reconciled else "[red]no[/]"
                )
        self.console.print(table)
        self.console.print("read = published + quarantined; BigQuery rows = those before + published - replaced")
        return whole

    def _row(self, dataset: str, target: str, receipts: list[Receipt]) -> tuple[list[int], bool]:
        checked = [receipt for receipt in receipts if receipt.dataset == dataset and receipt.stage == "check"]
        loaded = sum(
            receipt.loaded or 0 for receipt in receipts if receipt.dataset == dataset and receipt.stage == "load"
        )
        read, published, quarantined = (
            sum(getattr(receipt, name) or 0 for receipt in checked) for name in ("read", "published", "quarantined")
        )
        warehouse = open_warehouse(self.settings)
        rows_now = int(next(iter(warehouse.client.query(f"SELECT COUNT(*) FROM `{target}`").result(timeout=60)))[0])
        replaced = self.rows_before.get(dataset, 0) + published - rows_now
        self.rows_before[dataset] = rows_now
        expected = self._expected(dataset)
        total = self.sample[dataset]["total"] if dataset in self.sample else expected
        reconciled = read == published + quarantined and loaded == published and rows_now == expected
        return [total, read, published, quarantined, replaced, rows_now], reconciled

    def _expected(self, dataset: str) -> int:
        if dataset not in SQL_COUNTS:
            counts = self.sample[dataset]
            # Events and file lines cannot be counted by SQL; a corrected settlement replaces the first one.
            return counts["total"] - counts["bad"] - (counts["changed"] if dataset == "settlements" else 0)
        connection, statement = SQL_COUNTS[dataset]
        with databases.connect(connection) as source, source.cursor() as cursor:
            cursor.execute(statement)
            row: Any = cursor.fetchone()
            return int(row[0])


def show(rows: int | None) -> int:
    """The whole demo; 0 where everything arrived and is reconciled."""
    # Looked at before anything is thrown away.
    World(rows if rows is not None else rows_setting())
    services = [sys.executable, str(CODE_ROOT / "docker" / "native" / "services.py")]
    # Seeding makes the sources again, so the lake must begin from scratch, too: its positions are of the old ones.
    for command in ([*services, "down", "moto"], [*services, "up"]):
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    # Only what the demo triggers shall run while it counts; its batches are too small for the slower compiler.
    os.environ |= {
        "LAKEFERRY_SCHEDULES": "false",
        "LAKEFERRY_DAGS_PAUSED": "false",
        "LAKEFERRY_PAGE_MINUTES": "0",
        "LAKEFERRY_SPARK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m",
    }
    settings = load_settings()
    demo = Demo(settings)
    demo.say("the local lake and warehouse are empty, the demo fills them")
    standalone.stop(settings)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="airflow") as beside:
            demo.say("starting Airflow, about half a minute")
            # Parsing DAGs asks no source, and nothing runs before it is triggered.
            starting = beside.submit(standalone.start, settings)
            demo.say("seeding the sample into MariaDB, TiDB, Kafka and S3")
            demo.script("seed.py", *(["--rows", str(rows)] if rows is not None else []))
            starting.result()
        for dag in rest.paused():
            rest.pause(dag, False)
        demo.say("first run: everything")
        whole = demo.table("First run", demo.carry())
        demo.say("the next hour at the sources: new, changed and late rows, a new file, new messages")
        demo.script("next_hour.py")
        demo.say("second run: only what changed")
        whole &= demo.table("Second run", demo.carry())
    finally:
        standalone.stop(settings)
    demo.say(
        "everything is reconciled"
        if whole
        else "[red]something is not reconciled: lakeferry receipts PIPELINE says what[/]"
    )
    where(demo.console, settings)
    return 0 if whole else 1


def where(console: Console, settings: Settings) -> None:
    console.print("\nWhere to look:")
    console.print("  lakeferry status                   how fresh and whole each dataset is")
    console.print("  lakeferry page --to status.html    the same as a web page, with quality, quarantine and runs")
    console.print("  lakeferry receipts payments        what each stage counted")
    console.print("  lakeferry quarantine payments      why rows were set aside")
    console.print("  lakeferry show payments            rows as they lie in the warehouse")
    console.print("  lakeferry docs payments            Data Docs: which rules were proved, as a page on this machine")
    warehouse = f"{settings.warehouse_endpoint or 'BigQuery'}, project {settings.warehouse_project}"
    console.print(f"  the warehouse                      {warehouse}")
    console.print("  lakeferry studio payments          the link that opens a Data Studio report")
    console.print("  lakeferry report payments          charts of its views, as one HTML file")
    console.print("  make airflow                       Airflow's web UI")


def main() -> int:
    parser = argparse.ArgumentParser(description="Carry the sample from four systems into the warehouse, twice.")
    parser.add_argument("--rows", type=int, help="payments in the sample; the other sources in proportion")
    try:
        return show(parser.parse_args().rows)
    except LakeferryError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
