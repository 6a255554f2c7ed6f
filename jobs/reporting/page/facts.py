"""What the status page says, gathered once from receipts, tables and quarantine; no row's value is in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobs.lake.documents import open_documents
from jobs.reporting.page.freshness import Freshness, freshness_of
from jobs.reporting.page.summarize import summaries_from_receipts
from jobs.reporting.page.summary import Reason, TableState, in_order, newest_summaries
from jobs.reporting.status import RUNS, DatasetStatus, Result, failed_views, last_attempt, result_of, status_by
from jobs.runs.last_failures import last_failures, with_failures
from jobs.runs.receipts import STAGES, VIEW, Receipt, Stage, data_docs_key
from jobs.runs.stage_results import Proved
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import load_pipelines

Level = Literal["failed", "attention", "fine"]
_LEVELS: tuple[Level, ...] = ("failed", "attention", "fine")


@dataclass(frozen=True)
class RunResult:
    """What a run, in its newest generation, did to a dataset. `bytes` are those loaded, `docs` the key of its
    Data Docs in the lake, `rules` how many expectations were checked."""

    run_id: str
    at: datetime
    result: Result
    read: int | None
    published: int | None
    quarantined: int | None
    loaded: int | None
    bytes: int | None
    seconds: float
    rules: int | None
    docs: str | None
    error: str | None


@dataclass(frozen=True)
class DatasetFacts:
    """One dataset. `attempts` are its last runs, newest first; `reasons` those of its last batches, most rows
    first, `more_reasons` how many are not listed and `more_rows` the rows of those."""

    status: DatasetStatus
    description: str
    schedule: str | tuple[str, ...] | None
    freshness: Freshness
    attempts: tuple[RunResult, ...]
    checked: RunResult | None
    reasons: tuple[Reason, ...]
    more_reasons: int
    more_rows: int

    @property
    def level(self) -> Level:
        """How much somebody should look at it."""
        if self.status.result == "failed":
            return "failed"
        look = self.status.result == "unfinished" or self.freshness == "late" or self.status.rejected_rows
        return "attention" if look else "fine"


@dataclass(frozen=True)
class RunFacts:
    """One run with all its receipts, by dataset, generation and stage."""

    run_id: str
    at: datetime
    result: Result
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True)
class PipelineRuns:
    pipeline: str
    runs: tuple[RunFacts, ...]


@dataclass(frozen=True)
class PageFacts:
    """Everything on the page. `unreadable` are errors of pipeline files; datasets come failing ones first. `views` are
    the receipts of views that could not be made."""

    at: datetime
    lake: str
    datasets: tuple[DatasetFacts, ...]
    pipelines: tuple[PipelineRuns, ...]
    views: tuple[Receipt, ...]
    unreadable: tuple[str, ...]

    def count(self, level: Level) -> int:
        views = len(self.views) if level == "failed" else 0
        return views + sum(1 for dataset in self.datasets if dataset.level == level)


def gather(settings: Settings, now: datetime, *, rebuild: bool, keep: bool) -> PageFacts:
    """Read what there is to say of every pipeline: the summaries of its last runs.

    Args:
        rebuild: look into receipts and tables, for runs that left no summary.
        keep: leave in the lake the summaries that had to be built.
    """
    specs, broken = load_pipelines(settings.pipelines)
    documents = open_documents(settings.lake)
    newest = {} if rebuild else newest_summaries(documents, specs)
    datasets: list[DatasetFacts] = []
    pipelines = []
    views: list[Receipt] = []
    for spec in specs.values():
        summaries = newest.get(spec.pipeline) or summaries_from_receipts(spec, settings, keep=keep)
        receipts = in_order(receipt for summary in summaries for receipt in summary.all_receipts)
        # A pipeline without a summary has never been planned, but somebody may have tried.
        failures = summaries[0].failures if summaries else last_failures(documents, spec.pipeline)
        with_failed, retried = with_failures(receipts, failures, spec, settings)
        views += failed_views(spec, with_failed)
        datasets += _datasets(spec, with_failed, retried, summaries[0].states if summaries else {}, now, settings)
        pipelines.append(PipelineRuns(spec.pipeline, _runs(with_failed)))
    datasets.sort(key=lambda facts: (_LEVELS.index(facts.level), facts.status.pipeline, facts.status.dataset))
    order = list(dict.fromkeys(facts.status.pipeline for facts in datasets))
    return PageFacts(
        at=now,
        lake=settings.lake,
        datasets=tuple(datasets),
        pipelines=tuple(sorted(pipelines, key=lambda entry: order.index(entry.pipeline))),
        views=tuple(views),
        unreadable=tuple(str(error) for _, error in sorted(broken.items())),
    )


def _datasets(
    spec: PipelineSpec,
    receipts: Sequence[Receipt],
    retried: Mapping[str, str],
    states: Mapping[str, TableState],
    now: datetime,
    settings: Settings,
) -> list[DatasetFacts]:
    by_dataset: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_dataset[receipt.dataset].append(receipt)
    facts = []
    for dataset in spec.datasets:
        mine, state = by_dataset[dataset.name], states.get(dataset.name, TableState())
        status = status_by(spec, dataset, mine, state.tables, retried.get(dataset.name))
        attempts = tuple(_run_result(of_run) for of_run in _by_run(mine)[:RUNS])
        facts.append(
            DatasetFacts(
                status=status,
                description=dataset.description or "",
                schedule=_schedule(spec),
                freshness=freshness_of(spec, dataset, status.fresh_until, now, settings),
                attempts=attempts,
                checked=next((attempt for attempt in attempts if attempt.docs), None),
                reasons=state.reasons,
                more_reasons=state.more_reasons,
                more_rows=state.more_rows,
            )
        )
    return facts


def _schedule(spec: PipelineSpec) -> str | tuple[str, ...] | None:
    """A cron line, or what a run follows: names of which each or, with a plus between them, all together start it, and
    the cron line beside them."""
    if spec.schedule is None or isinstance(spec.schedule, str):
        return spec.schedule
    followed = spec.schedule.after or [" + ".join(spec.schedule.after_all)]
    return (*followed, *([spec.schedule.cron] if spec.schedule.cron else []))


def _by_run(receipts: Sequence[Receipt]) -> list[list[Receipt]]:
    """Receipts of one dataset by run, the run that was planned last first."""
    by_run: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        by_run.setdefault(receipt.run_id, []).append(receipt)
    return sorted(by_run.values(), key=lambda of_run: of_run[0].finished_at, reverse=True)


def _run_result(of_run: list[Receipt]) -> RunResult:
    last = last_attempt(of_run) or of_run
    by_stage: dict[Stage, Receipt] = {receipt.stage: receipt for receipt in last}
    check, load = by_stage.get("check"), by_stage.get("load")
    written = by_stage.get("extract") or by_stage.get("transform")
    counted = check if check is not None and check.read is not None else written
    failed = next((receipt for receipt in last if receipt.verdict == "failed"), None)
    proved = check.result(Proved) if check else None
    return RunResult(
        run_id=of_run[0].run_id,
        at=datetime.fromisoformat(last[-1].finished_at),
        result=result_of(last),
        read=counted.read if counted else None,
        published=check.published if check else None,
        quarantined=counted.quarantined if counted else None,
        loaded=load.loaded if load else None,
        bytes=load.bytes if load else None,
        seconds=sum(receipt.seconds for receipt in last),
        rules=proved.expectations if proved else None,
        docs=_docs(check),
        error=failed.error if failed else None,
    )


def _docs(check: Receipt | None) -> str | None:
    """The key of a check's Data Docs; a rule that failed names them in its error alone."""
    proved = check.result(Proved) if check else None
    if check is None or not ((proved and proved.data_docs) or check.error_type == "CheckFailed"):
        return None
    return data_docs_key(check.pipeline, check.dataset, check.run_id, check.generation)


def _runs(receipts: Sequence[Receipt]) -> tuple[RunFacts, ...]:
    runs = []
    for of_run in _by_run(receipts)[:RUNS]:
        by_dataset: dict[str, list[Receipt]] = {}
        for receipt in of_run:
            by_dataset.setdefault(receipt.dataset, []).append(receipt)
        results = {_result(mine) for mine in by_dataset.values()}
        order: tuple[Result, ...] = ("failed", "unfinished", "done", "empty")
        runs.append(
            RunFacts(
                run_id=of_run[0].run_id,
                at=datetime.fromisoformat(of_run[0].finished_at),
                result=next((result for result in order if result in results), "unfinished"),
                receipts=tuple(sorted(of_run, key=_by_dataset)),
            )
        )
    return tuple(runs)


def _result(mine: list[Receipt]) -> Result:
    """What became of a dataset, or of a view, in a run."""
    if mine[-1].stage == VIEW:
        return "failed" if mine[-1].verdict == "failed" else "done"
    return result_of(last_attempt(mine))


def _by_dataset(receipt: Receipt) -> tuple[int, str, int, int]:
    stage = STAGES.index(receipt.stage) if receipt.stage in STAGES else len(STAGES)
    return int(receipt.stage == VIEW), receipt.dataset, receipt.generation, stage
