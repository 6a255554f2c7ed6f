"""A lake in a folder with receipts, tables and quarantine as runs leave them: the world the status page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog

from jobs.lake import batch_log as batches
from jobs.lake.catalog import ensure_namespaces, open_catalog
from jobs.lake.documents import Documents, open_documents
from jobs.lake.names import CURATED, QUARANTINE, RAW
from jobs.runs.receipts import Receipt, Receipts
from jobs.runtime.settings import Settings

PIPELINE = """pipeline: {name}
description: {name} of the shop
{schedule}source: {{type: aurora, connection: aurora_payments}}
datasets:
"""
DATASET = """  - name: {name}
    description: One row of {name} a line
    table: shop.{name}
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: shop.{name}}}
"""
_QUARANTINE = pa.schema(
    [
        ("_run_id", pa.string()),
        ("_batch", pa.int64()),
        ("reason", pa.string()),
        ("place", pa.string()),
        ("record", pa.string()),
    ]
)


@dataclass
class PageWorld:
    """Runs happen `hours_ago`; what they carry is said in numbers."""

    folder: Path
    settings: Settings
    documents: Documents
    catalog: Catalog
    now: datetime

    @classmethod
    def at(cls, folder: Path) -> PageWorld:
        (folder / "pipelines").mkdir(parents=True)
        settings = Settings(
            lake=f"file://{folder}/lake",
            catalog=f"sqlite:///{folder}/catalog.db",
            pipelines=folder / "pipelines",
            schedules=True,
        )
        (folder / "lake").mkdir()
        catalog = open_catalog(settings)
        ensure_namespaces(catalog)
        return cls(folder, settings, open_documents(settings.lake), catalog, datetime.now(UTC))

    def pipeline(self, name: str, *datasets: str, schedule: str | None = None) -> None:
        text = PIPELINE.format(name=name, schedule=f'schedule: "{schedule}"\n' if schedule else "")
        text += "".join(DATASET.format(name=dataset) for dataset in datasets)
        (self.folder / "pipelines" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def run(
        self,
        pipeline: str,
        dataset: str,
        run_id: str,
        *,
        hours_ago: float,
        published: int,
        quarantined: int = 0,
        batch: int = 1,
        rules: int | None = 4,
        bytes_loaded: int = 0,
    ) -> None:
        """A run that delivered: its receipts, the sealed batch in raw, the rows of curated."""
        window = (self._ago(hours_ago + 1), self._ago(hours_ago))
        read = published + quarantined
        shared = {"batch": batch, "window_start": window[0], "window_end": window[1]}
        counts: dict[str, Any] = {"read": read, "quarantined": quarantined}
        made = {**shared, **counts}
        docs = {"data_docs": "file:///somewhere", "expectations": rules} if rules else {}
        self.receipt(pipeline, dataset, run_id, "plan", hours_ago, **shared)
        self.receipt(pipeline, dataset, run_id, "extract", hours_ago, source_rows=read, **made)
        self.receipt(pipeline, dataset, run_id, "check", hours_ago, published=published, details=docs, **made)
        self.receipt(
            pipeline, dataset, run_id, "load", hours_ago,
            published=published, loaded=published, bytes=bytes_loaded, **shared,
        )  # fmt: skip
        raw = self.catalog.create_table_if_not_exists((RAW, dataset), pa.schema([("id", pa.int64())]))
        seal = {
            batches.SEALED: "true",
            batches.BATCH: str(batch),
            batches.RUN_ID: run_id,
            batches.GENERATION: "1",
            batches.ROWS: str(published),
            batches.QUARANTINED: str(quarantined),
            batches.WINDOW_START: window[0],
            batches.WINDOW_END: window[1],
        }
        rows = pa.table({"id": pa.array(range(published), pa.int64())})
        raw.append(rows, snapshot_properties=seal)
        self.catalog.create_table_if_not_exists((CURATED, dataset), rows.schema).overwrite(rows)

    def receipt(
        self, pipeline: str, dataset: str, run_id: str, stage: Any, hours_ago: float, verdict: Any = "done", **more: Any
    ) -> None:
        order = ("plan", "extract", "transform", "check", "load").index(stage)
        Receipts(self.documents).leave(
            Receipt(
                pipeline=pipeline,
                run_id=run_id,
                generation=more.pop("generation", 1),
                stage=stage,
                dataset=dataset,
                verdict=verdict,
                seconds=1.5,
                finished_at=self._ago(hours_ago, order),
                **more,
            )
        )

    def set_aside(self, dataset: str, rows: Sequence[tuple[str, int, str, str]]) -> None:
        """Rows of quarantine: (run id, batch, reason, record)."""
        table = self.catalog.create_table_if_not_exists((QUARANTINE, dataset), _QUARANTINE)
        columns = zip(*((run, batch, reason, "id=1", record) for run, batch, reason, record in rows), strict=True)
        table.append(pa.table([list(column) for column in columns], schema=_QUARANTINE))

    def _ago(self, hours: float, seconds: int = 0) -> str:
        return (self.now - timedelta(hours=hours) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
