"""Lakeferry in a lake of its own: a folder with catalog, pipelines and state, and runs in it, watched.

A run is what `lakeferry run` does, less the load: plan in one process, extract through check in another.
The lake is a folder, so that no stand-in for S3 is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pyiceberg.table import Table

from jobs.lake.catalog import open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.names import RAW
from jobs.launch.commands import local_command, local_environment, plan_command
from jobs.runs.plan_document import load_plan
from jobs.runs.receipts import Receipt, Receipts
from jobs.runtime.events import FORMAT_VARIABLE
from jobs.runtime.settings import Settings
from tests.bench.outcome import Outcome, Phases
from tests.bench.server import CONNECTION_ID
from tests.bench.tables import qualified
from tests.bench.watched import ContenderFailed, Watched, watch


@dataclass(frozen=True)
class Limits:
    """How long one process may take, and how the server's CPU time is asked for."""

    seconds: float
    server_cpu: Callable[[], float | None]


class Lake:
    """A lake in a folder of its own; `logs` is where the processes' output goes."""

    def __init__(self, folder: Path, logs: Path, limits: Limits) -> None:
        self._pipelines = folder / "pipelines"
        self._logs = logs
        self._limits = limits
        for name in ("pipelines", "expectations", "state", "lake"):
            (folder / name).mkdir(parents=True)
        own = {
            "lake": f"file://{folder}/lake",
            "catalog": f"sqlite:///{folder}/catalog.db",
            "pipelines": str(self._pipelines),
            "expectations": str(folder / "expectations"),
            "state_dir": str(folder / "state"),
            "runner": "local",
        }
        self.settings = Settings.model_validate(own)
        settings = {f"LAKEFERRY_{key.upper()}": value for key, value in own.items()}
        self.environment = {**os.environ, **settings, **local_environment(self.settings), FORMAT_VARIABLE: "json"}
        self._runs = 0

    def pipeline(self, name: str, tables: Sequence[str], reconcile: str) -> None:
        """Write a pipeline of these tables of payments; each dataset is named like its table."""
        lines = [
            f"pipeline: {name}",
            f"source: {{type: aurora, connection: {CONNECTION_ID}}}",
            "datasets:",
        ]
        for table in tables:
            lines += [
                f"  - name: {table}",
                f"    table: {qualified(table)}",
                "    primary_key: [id]",
                "    cursor: updated_at",
                "    lag_seconds: 1",
                "    write_disposition: merge",
                f"    reconcile: {reconcile}",
                f"    bigquery: {{table: bench.{table}}}",
            ]
        (self._pipelines / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, pipeline: str, contender: str, rows: int) -> Outcome:
        """Plan, extract and check a pipeline.

        Raises:
            ContenderFailed: a process failed, not that many rows were published, or events or receipts are missing.
        """
        self._runs += 1
        run_id = f"run-{self._runs}"
        planned = self._watch(plan_command(pipeline, run_id), f"{contender} {rows} plan")
        uri = planned.output.read_text(encoding="utf-8").splitlines()[-1]
        extracted = self._watch(local_command("extract", uri, "check", self.settings), f"{contender} {rows} extract")
        receipts = Receipts(open_documents(self.settings.lake)).of_run(pipeline, run_id)
        published = sum(receipt.published or 0 for receipt in receipts if receipt.stage == "check")
        if published != rows:
            raise ContenderFailed(f"published {published:,} of {rows:,} rows")
        datasets = [dataset.name for dataset in load_plan(uri, self.settings).datasets]
        catalog = open_catalog(self.settings)
        raw = {name: catalog.load_table((RAW, name)) for name in datasets}
        moments = _Moments(planned, extracted, _events(extracted), receipts, raw, self.settings)
        try:
            return moments.outcome(contender, rows)
        except (StopIteration, ValueError) as error:
            raise ContenderFailed(f"what it left does not say when it did what ({error!r})") from error

    def load(self, pipeline: str, rows: int, own: Mapping[str, str]) -> Watched:
        """Bring what is published into the warehouse; only the load stage is watched.

        Args:
            own: variables of the load's process.

        Raises:
            ContenderFailed: it failed, or brought not that many rows.
        """
        self._runs += 1
        run_id = f"run-{self._runs}"
        planned = self._watch(plan_command(pipeline, run_id), f"load {rows} plan")
        uri = planned.output.read_text(encoding="utf-8").splitlines()[-1]
        watched = self._watch(local_command("load", uri, None, self.settings), f"load {rows}", own)
        receipts = Receipts(open_documents(self.settings.lake)).of_run(pipeline, run_id)
        loaded = sum(receipt.loaded or 0 for receipt in receipts if receipt.stage == "load")
        if loaded != rows:
            raise ContenderFailed(f"loaded {loaded:,} of {rows:,} rows")
        return watched

    def _watch(self, command: Sequence[str], log: str, own: Mapping[str, str] | None = None) -> Watched:
        watched = watch(
            command,
            environment={**self.environment, **(own or {})},
            log=self._logs / log.replace(",", "").replace(" ", "-"),
            limit_seconds=self._limits.seconds,
            server_cpu=self._limits.server_cpu,
        )
        if watched.code != 0:
            told = [str(event.get("error")) for event in _events(watched) if event["event"] == "failed"]
            raise ContenderFailed(f"exit code {watched.code}: {told[0]}" if told else watched.reason())
        return watched


class _Moments:
    """When what happened in a run: from its events and receipts, and from its tables' histories."""

    def __init__(
        self,
        planned: Watched,
        extracted: Watched,
        events: Sequence[dict[str, Any]],
        receipts: Sequence[Receipt],
        raw: dict[str, Table],
        settings: Settings,
    ) -> None:
        self._planned = planned
        self._extracted = extracted
        self._events = events
        self._extracts = [receipt for receipt in receipts if receipt.stage == "extract"]
        self._checks = [receipt for receipt in receipts if receipt.stage == "check"]
        self._raw = raw
        self._at_once = min(len(raw), settings.datasets_in_parallel)

    def outcome(self, contender: str, rows: int) -> Outcome:
        """The run without its curated merge, which the phases report separately."""
        ready = next(_moment(e["time"]) for e in self._events if (e["event"], e["stage"]) == ("ready", "spark"))
        read = max(_moment(receipt.finished_at) for receipt in self._extracts)
        checked = max(_moment(receipt.finished_at) for receipt in self._checks)
        published = {name: table.metadata.snapshot_log[-1].timestamp_ms / 1000 for name, table in self._raw.items()}
        merged = [(published[receipt.dataset], _moment(receipt.finished_at)) for receipt in self._checks]
        curated = sum(done - began for began, done in merged) / self._at_once
        proof = sum((r.details.proof_seconds or 0.0) for r in self._checks) / self._at_once
        phases = Phases(
            plan=self._planned.wall_seconds,
            start=ready - self._extracted.began,
            read_write=read - ready,
            append=self._append_seconds(),
            proof=proof,
            publish=checked - read - proof - curated,
            curated=curated,
            end=self._extracted.ended - checked,
        )
        # In parallel some datasets are merged while others are proved: only a single dataset shows the two apart.
        alone = len(self._raw) == 1
        cpu_of_merge = sum(self._extracted.cpu_until(b) - self._extracted.cpu_until(a) for a, b in merged)
        until = max(published.values()) if alone else None
        return Outcome(
            contender=contender,
            rows=rows,
            wall_seconds=self._planned.wall_seconds + self._extracted.wall_seconds - curated,
            peak_bytes=max(self._planned.peak_bytes(), self._extracted.peak_bytes(until)),
            cpu_seconds=self._planned.cpu_seconds + self._extracted.cpu_seconds - (cpu_of_merge if alone else 0.0),
            server_cpu_seconds=_sum(self._planned.server_cpu_seconds, self._extracted.server_cpu_seconds),
            others_cpu_seconds=self._planned.others_cpu_seconds + self._extracted.others_cpu_seconds,
            phases=phases,
        )

    def _append_seconds(self) -> float:
        """From the last commit before the first rows (the branch's) to the last slice."""
        batch = {str(receipt.batch) for receipt in self._extracts}
        first = min(
            snapshot.timestamp_ms
            for table in self._raw.values()
            for snapshot in table.snapshots()
            if snapshot.summary
            and snapshot.summary.additional_properties.get("lakeferry.batch") in batch
            and snapshot.summary.additional_properties.get("added-records")
        )
        commits = [entry.timestamp_ms for table in self._raw.values() for entry in table.metadata.metadata_log]
        began = max(moment for moment in commits if moment < first) / 1000
        return max(_moment(e["time"]) for e in self._events if e["event"] == "appended") - began


def _events(watched: Watched) -> list[dict[str, Any]]:
    lines = watched.output.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _sum(first: float | None, second: float | None) -> float | None:
    return first + second if first is not None and second is not None else None
