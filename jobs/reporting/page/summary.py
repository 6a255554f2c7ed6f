"""Summaries of runs: what the status page says of a pipeline, left by each of its runs as one small document.

The page is drawn from the newest summaries alone, so what drawing costs depends on how many pipelines it shows, not on
how many receipts were ever left, and it opens no table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.lake.documents import Documents
from jobs.reporting.status import RUNS, TableFacts, last_attempt
from jobs.runs.last_failures import LastFailure
from jobs.runs.receipts import VIEW, Receipt, safe_run_id
from jobs.runtime.events import event
from jobs.spec.models import PipelineSpec

_LISTED = 3 * RUNS
"""How many of a pipeline's summaries are listed. A run leaves one when it is planned, one when it ends, and one more
each time its last task is repeated."""
_LATEST_MS = 10**13
"""Keys begin with the milliseconds left until then (the year 2286): a listing in order has the newest first."""
_AT_ONCE = 8


class Reason(BaseModel):
    """Rows set aside for one reason, of runs that were published and of others."""

    model_config = ConfigDict(frozen=True)

    text: str
    published: int
    unpublished: int


class TableState(BaseModel):
    """What the tables of a dataset said when a run ended. `reasons` are those of the rows set aside in its last
    batches, most rows first, `more_reasons` how many are not listed and `more_rows` the rows of those."""

    model_config = ConfigDict(frozen=True)

    tables: TableFacts = TableFacts()
    reasons: tuple[Reason, ...] = ()
    more_reasons: int = 0
    more_rows: int = 0


class RunSummary(BaseModel):
    """One run of a pipeline as its receipts have it, and the pipeline's datasets as they stood then.

    `carried` are the receipts of the last attempt at each dataset, and at each view, that this run did not touch.
    `failures` are the last failures of the pipeline's datasets that left no receipt, as they stood then.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: str
    run_id: str
    receipts: tuple[Receipt, ...]
    carried: tuple[Receipt, ...] = ()
    states: dict[str, TableState] = {}
    failures: tuple[LastFailure, ...] = ()

    @property
    def all_receipts(self) -> list[Receipt]:
        return in_order((*self.receipts, *self.carried))


def carried_over(spec: PipelineSpec, own: Sequence[Receipt], earlier: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """Return the receipts of earlier runs that show the state of what this run did not touch."""
    # A correction is no attempt: the one before it says how things stand.
    planned = {receipt.dataset for receipt in own if receipt.stage == "plan" and receipt.verdict != "skipped"}
    before: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in earlier:
        before[receipt.dataset].append(receipt)
    attempts = [last_attempt(before[dataset.name]) for dataset in spec.datasets if dataset.name not in planned]
    remade = {receipt.dataset for receipt in own if receipt.stage == VIEW}
    views = [before[view.name][-1] for view in spec.views if view.name in before and view.name not in remade]
    return (*chain.from_iterable(attempts), *views)


def keep_summary(documents: Documents, summary: RunSummary, at: datetime) -> None:
    """Write the summary as that of this moment. The newest summary of a run counts."""
    until_latest_ms = _LATEST_MS - int(at.timestamp() * 1000)
    key = f"{_prefix(summary.pipeline)}{until_latest_ms:013}.{safe_run_id(summary.run_id)}.json"
    documents.put(key, summary.model_dump_json().encode(), "application/json")


def newest_summaries(documents: Documents, pipelines: Iterable[str], runs: int = RUNS) -> dict[str, list[RunSummary]]:
    """The summaries of the last runs of each pipeline, newest first: one request per pipeline, and one per summary."""
    names = list(pipelines)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="summaries") as pool:
        listed = pool.map(lambda name: documents.first(_prefix(name), _LISTED), names)
        keys = {name: _of_runs(summary_keys)[:runs] for name, summary_keys in zip(names, listed, strict=True)}
        texts = pool.map(documents.read, [key for summary_keys in keys.values() for key in summary_keys])
        read = {name: [_parsed(key, next(texts)) for key in summary_keys] for name, summary_keys in keys.items()}
    return {name: [summary for summary in summary_keys if summary is not None] for name, summary_keys in read.items()}


def _parsed(key: str, text: str) -> RunSummary | None:
    try:
        return RunSummary.model_validate_json(text)
    except ValidationError:
        # The error's text holds what the document holds.
        problem = f"summary {key} was written by another version of Lakeferry: its run is not on this page"
        event("warning", stage="page", warning=f"{problem}. Install one version wherever runs of this lake are shown")
        return None


def in_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Receipts in the order they were left, each once."""
    unique = {
        (receipt.run_id, receipt.generation, receipt.stage, receipt.dataset, receipt.finished_at): receipt
        for receipt in receipts
    }
    return sorted(unique.values(), key=lambda receipt: receipt.finished_at)


def _of_runs(keys: Sequence[str]) -> list[str]:
    """The first key of each run."""
    newest: dict[str, str] = {}
    for key in keys:
        newest.setdefault(key.rsplit("/", 1)[1].partition(".")[2], key)
    return list(newest.values())


def _prefix(pipeline: str) -> str:
    return f"page/runs/{pipeline}/"
