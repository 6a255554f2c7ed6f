"""Makes the summaries of runs, from receipts, tables and quarantine; no row's value is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog import Catalog

from jobs.lake.catalog import open_catalog
from jobs.lake.documents import open_documents
from jobs.lake.quarantine import VALUE_IN_REASON
from jobs.reporting.page.summary import (
    Reason,
    RunSummary,
    TableState,
    carried_over,
    in_order,
    keep_summary,
    newest_summaries,
)
from jobs.reporting.quarantine import set_aside
from jobs.reporting.status import RUNS, table_facts
from jobs.runs.last_failures import last_failures
from jobs.runs.receipts import Receipt, Receipts
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec, PipelineSpec

SHOWN_REASONS = 20
_TABLES_AT_ONCE = 4


def summarize_run(
    spec: PipelineSpec, run_id: str, settings: Settings, own: Sequence[Receipt] | None = None, *, ended: bool = True
) -> None:
    """Leave the summary of a run, built on the newest one of its pipeline. A run that left neither a receipt
    nor a failure leaves none.

    Args:
        own: the receipts of the run, where they are read already.
        ended: whether to look into the tables of the datasets that the run touched; a run that is only planned has
            changed none.

    Raises:
        LakeferryError: the lake does not answer.
    """
    documents = open_documents(settings.lake)
    own = in_order(Receipts(documents).of_run(spec.pipeline, run_id) if own is None else own)
    failures = tuple(last_failures(documents, spec.pipeline))
    if not own and all(failure.receipt.run_id != run_id for failure in failures):
        return
    previous = next(iter(newest_summaries(documents, [spec.pipeline], 1)[spec.pipeline]), None)
    if previous is None:
        # The first: runs of before there were summaries are on the page, too.
        summaries_from_receipts(spec, settings, keep=True)
        return
    earlier = previous.all_receipts
    touched = {receipt.dataset for receipt in own} if ended else set()
    states = {
        name: state for name, state in previous.states.items() if name in {dataset.name for dataset in spec.datasets}
    }
    states |= _states(spec, [dataset for dataset in spec.datasets if dataset.name in touched], own, states, settings)
    summary = RunSummary(
        pipeline=spec.pipeline,
        run_id=run_id,
        receipts=tuple(own),
        carried=carried_over(spec, own, earlier),
        states=states,
        failures=failures,
    )
    keep_summary(documents, summary, datetime.now(UTC))


def summaries_from_receipts(spec: PipelineSpec, settings: Settings, *, keep: bool) -> list[RunSummary]:
    """Summaries of the pipeline's last runs, newest first, from the receipts of all of them and from its tables.

    Args:
        keep: leave them in the lake, so that nobody has to list these receipts again.
    """
    documents = open_documents(settings.lake)
    receipts = Receipts(documents).newest(spec.pipeline, RUNS)
    by_run: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        by_run.setdefault(receipt.run_id, []).append(receipt)
    failures = tuple(last_failures(documents, spec.pipeline))
    newest_first = list(reversed(by_run.items()))
    summaries = []
    for place, (run_id, own) in enumerate(newest_first):
        first = place == 0
        summaries.append(
            RunSummary(
                pipeline=spec.pipeline,
                run_id=run_id,
                receipts=tuple(own),
                carried=carried_over(spec, own, receipts) if first else (),
                states=_states(spec, spec.datasets, receipts, {}, settings) if first else {},
                failures=failures if first else (),
            )
        )
    if keep:
        now = datetime.now(UTC)
        for place, summary in enumerate(summaries):
            keep_summary(documents, summary, now - timedelta(milliseconds=place))
    return summaries


def _states(
    spec: PipelineSpec,
    datasets: Sequence[DatasetSpec],
    receipts: Sequence[Receipt],
    earlier: dict[str, TableState],
    settings: Settings,
) -> dict[str, TableState]:
    """What the tables of these datasets say now."""
    if not datasets:
        return {}
    catalog = open_catalog(settings)

    def state(dataset: DatasetSpec) -> TableState:
        mine = [receipt for receipt in receipts if receipt.dataset == dataset.name]
        tables = table_facts(dataset, mine, catalog)
        before = earlier[dataset.name].tables.fresh_until if dataset.name in earlier else None
        # A window that was found empty publishes nothing: only the summary before knows of it.
        fresh_until = max((at for at in (before, tables.fresh_until) if at is not None), default=None)
        reasons = _reasons(spec, dataset, settings, catalog)
        listed, rest = reasons[:SHOWN_REASONS], reasons[SHOWN_REASONS:]
        return TableState(
            tables=replace(tables, fresh_until=fresh_until),
            reasons=tuple(listed),
            more_reasons=len(rest),
            more_rows=sum(reason.published + reason.unpublished for reason in rest),
        )

    # What takes long is waiting for the catalog.
    with ThreadPoolExecutor(_TABLES_AT_ONCE, thread_name_prefix="tables") as pool:
        return dict(zip((dataset.name for dataset in datasets), pool.map(state, datasets), strict=True))


def _reasons(spec: PipelineSpec, dataset: DatasetSpec, settings: Settings, catalog: Catalog) -> list[Reason]:
    """Why rows of the dataset's last batches were set aside, most rows first."""
    published: Counter[str] = Counter()
    unpublished: Counter[str] = Counter()
    for entry in set_aside(spec, settings, only=[dataset.name], examples=0, last_batches=RUNS, catalog=catalog):
        counts = published if entry.published else unpublished
        counts[VALUE_IN_REASON.sub(r"\1", entry.reason)] += entry.rows
    return [
        Reason(text=text, published=published[text], unpublished=unpublished[text])
        for text, _ in sorted((published + unpublished).items(), key=lambda entry: (-entry[1], entry[0]))
    ]
