"""What `lakeferry status` and `lakeferry receipts` show: is it fresh, is it whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pyiceberg.catalog import Catalog

from jobs.lake.batch_log import PublishedBatch, published_batches
from jobs.lake.catalog import find_table, open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.names import CURATED, RAW
from jobs.runs.last_failures import last_failures, with_failures
from jobs.runs.receipts import STAGES, VIEW, Receipt, Receipts, is_correction
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec, PipelineSpec

Result = Literal["never run", "done", "empty", "failed", "unfinished"]
RUNS = 20
"""How many runs of each dataset are looked back at: what is said must not take longer every day."""


@dataclass(frozen=True)
class DatasetStatus:
    """One line of the status. `fresh_until` is the instant up to which the source is known to be here:
    the end of the last window that was published or found empty; for sources without a window, the
    time of the plan. `result` is that of the last run: `done`, `empty`, `failed`, or `unfinished`: it is going, waits
    for a further try (`error` is that of the last one), or was killed. `exit_code` is that of its failure.
    `rejected_rows` are those of the newest batch where every row of it was rejected, and the spec does not accept that;
    else 0."""

    pipeline: str
    dataset: str
    window_start: str | None
    window_end: str | None
    fresh_until: datetime | None
    rows: int | None
    batch: int
    result: Result
    error: str | None
    exit_code: int = 0
    rejected_rows: int = 0

    @property
    def freshness_seconds(self) -> float | None:
        return (datetime.now(UTC) - self.fresh_until).total_seconds() if self.fresh_until else None


def status_of(specs: list[PipelineSpec], settings: Settings) -> tuple[list[DatasetStatus], list[Receipt]]:
    """The status of every dataset of these pipelines, and the receipts of their views that failed."""
    documents = open_documents(settings.lake)
    receipts = Receipts(documents)
    catalog = open_catalog(settings)
    statuses, views = [], []
    for spec in specs:
        failures = last_failures(documents, spec.pipeline)
        known, retried = with_failures(receipts.newest(spec.pipeline, RUNS), failures, spec, settings)
        for dataset in spec.datasets:
            mine = [receipt for receipt in known if receipt.dataset == dataset.name]
            tables = table_facts(dataset, mine, catalog)
            statuses.append(status_by(spec, dataset, mine, tables, retried.get(dataset.name)))
        views += failed_views(spec, known)
    return statuses, views


def failed_views(spec: PipelineSpec, receipts: Sequence[Receipt]) -> list[Receipt]:
    """The last receipt of each of the pipeline's views where it says that the view could not be made.

    Args:
        receipts: of the pipeline, in the order they were left.
    """
    last = {receipt.dataset: receipt for receipt in receipts if receipt.stage == VIEW}
    newest = (last.get(view.name) for view in spec.views)
    return [receipt for receipt in newest if receipt is not None and receipt.verdict == "failed"]


@dataclass(frozen=True)
class TableFacts:
    """What the tables of a dataset say of it. For the fields see `DatasetStatus`."""

    window_start: str | None = None
    window_end: str | None = None
    fresh_until: datetime | None = None
    rows: int | None = None
    batch: int = 0
    rejected_rows: int = 0


def table_facts(dataset: DatasetSpec, receipts: list[Receipt], catalog: Catalog) -> TableFacts:
    """Look into the tables of a dataset; its receipts say until when it is fresh where nothing was published."""
    published = published_batches(find_table(catalog, RAW, dataset.name))
    raw = published[-1] if published else None
    # A correction reads nothing: the window is that of the batch before it.
    read = next((batch for batch in reversed(published) if not batch.corrects), None)
    curated = find_table(catalog, CURATED, dataset.name)
    snapshot = curated.current_snapshot() if curated else None
    records = snapshot.summary.additional_properties.get("total-records") if snapshot and snapshot.summary else None
    return TableFacts(
        window_start=read.window_start if read else None,
        window_end=read.window_end if read else None,
        fresh_until=_fresh_until(receipts, published, dataset.options.get("cursor_time_zone")),
        rows=int(records) if records is not None else None,
        batch=raw.batch if raw else 0,
        rejected_rows=_all_rejected(read) if read and dataset.most_quarantined < 1 else 0,
    )


def status_by(
    spec: PipelineSpec, dataset: DatasetSpec, receipts: list[Receipt], tables: TableFacts, retried: str | None = None
) -> DatasetStatus:
    """The status of one dataset by its receipts and its tables.

    Args:
        receipts: those of its last runs, oldest first, with those of `jobs.runs.last_failures`.
        retried: why the last try failed, where a further one follows.
    """
    last = last_attempt(receipts)
    failed = next((receipt for receipt in last if receipt.verdict == "failed"), None)
    return DatasetStatus(
        pipeline=spec.pipeline,
        dataset=dataset.name,
        window_start=tables.window_start,
        window_end=tables.window_end,
        fresh_until=tables.fresh_until,
        rows=tables.rows,
        batch=tables.batch,
        result=result_of(last),
        error=failed.error if failed else retried,
        exit_code=failed.exit_code if failed else 0,
        rejected_rows=tables.rejected_rows,
    )


def _all_rejected(batch: PublishedBatch) -> int:
    """Rejected rows of a batch of which every row was rejected; else 0."""
    # Rows that a correction set aside had been accepted.
    accepted = batch.rows + batch.corrected if batch.accepted is None else batch.accepted
    refused = batch.quarantined if batch.refused is None else batch.refused
    return 0 if accepted else refused


def result_of(last: list[Receipt]) -> Result:
    """What became of one attempt at one dataset, by its receipts."""
    if not last:
        return "never run"
    if any(receipt.verdict == "failed" for receipt in last):
        return "failed"
    if any(is_correction(receipt) for receipt in last):
        return "done"
    if not any(receipt.stage == "load" for receipt in last):
        return "unfinished"
    nothing = any(receipt.stage in ("plan", "check") and receipt.verdict == "empty" for receipt in last)
    return "empty" if nothing else "done"


def last_attempt(receipts: list[Receipt]) -> list[Receipt]:
    """Return the receipts of the newest run and generation, by when it was planned. A failure to plan counts as a run;
    a run that skipped the dataset does not. A correction is not planned, and counts only if nothing else does."""
    planned = [receipt for receipt in receipts if receipt.stage == "plan" and receipt.verdict != "skipped"]
    if not planned:
        return [receipt for receipt in receipts if is_correction(receipt)][-1:]
    newest = planned[-1]
    mine = [r for r in receipts if (r.run_id, r.generation) == (newest.run_id, newest.generation)]
    return sorted(mine, key=lambda receipt: STAGES.index(receipt.stage))


def _fresh_until(receipts: list[Receipt], published: list[PublishedBatch], zone: str | None) -> datetime | None:
    known = {(r.run_id, r.generation) for r in receipts if r.stage == "check" and r.verdict != "failed"}
    known |= {(r.run_id, r.generation) for r in receipts if r.stage == "plan" and r.verdict == "empty"}
    planned = [r for r in receipts if r.stage == "plan" and (r.run_id, r.generation) in known]
    ends = [_instant(receipt.window_end, zone) or _instant(receipt.finished_at, None) for receipt in planned]
    # What was published before the receipts that were read counts, too: the last runs may all have failed.
    ends += [_instant(batch.window_end, zone) for batch in published]
    newest_end = max((end for end in ends if end is not None), default=None)
    if newest_end is None and published:
        return datetime.fromtimestamp(published[-1].published_at_ms / 1000, UTC)
    return newest_end


def _instant(text: str | None, zone: str | None) -> datetime | None:
    """None where a window does not end at a time: its cursor is a number. `zone`: of local times."""
    if text is None or text.lstrip("-").isdigit():
        return None
    moment = datetime.fromisoformat(text)
    if zone and not moment.tzinfo:
        from connectors.mysql.windows.cursor_zone import earliest_instant

        moment = earliest_instant(zone, moment)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
