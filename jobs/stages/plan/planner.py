"""Makes a plan: validates it against source, lake and warehouse, then writes it once.

Plans have generations. After a crash the same plan is repeated. After a failed receipt (a check that failed, a moved
base, a snapshot the source has collected) the next generation plans the failed datasets again and carries the others
over as they are. A run that is asked for something else, or for its window once more, is planned again, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from pydantic import JsonValue
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from connectors.base import Source, Window
from connectors.capabilities import KeyScanSource
from connectors.errors import (
    LakeferryError,
    LakeMoved,
    ServiceUnavailable,
    UsageError,
    WindowUnfit,
)
from jobs.contracts.columns import check_columns
from jobs.contracts.drift import check_drift
from jobs.contracts.raw_owner import check_owner
from jobs.contracts.rules import freeze_rules
from jobs.contracts.transform_code import check_transform
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.catalog import ensure_namespaces, find_table, open_catalog
from jobs.lake.documents import Documents, open_documents
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.lake.large_properties import read_position
from jobs.lake.names import CURATED, RAW
from jobs.lake.schema import DELETED
from jobs.masking.masks import find_mask_key, lake_columns_after, mask_key_fingerprint
from jobs.masking.personal_data import privacy_warnings
from jobs.runs.failures import reported
from jobs.runs.key_guarantee import key_guarantee
from jobs.runs.last_failures import clear_plan_failure
from jobs.runs.plan_document import DatasetPlan, Failure, Pin, Plan, State, plan_key
from jobs.runs.plan_words import nothing_new
from jobs.runs.receipts import Receipt, Receipts, Verdict
from jobs.runs.row_identity import row_identity
from jobs.runs.run_receipts import RunReceipts
from jobs.runs.run_request import Invocation, RunRequest
from jobs.runs.source import request_of, source_of
from jobs.runs.stage_results import Planned
from jobs.runtime.events import as_json, event
from jobs.runtime.fault_points import crash_point
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec, PipelineSpec
from jobs.spec.reader import line_of, located
from jobs.stages.plan.derived_inputs import check_inputs, pin_inputs
from jobs.stages.plan.expiry import expiry_warnings
from jobs.stages.plan.frozen_files import PipelineFiles
from jobs.stages.plan.published_windows import load_only, published_windows, windows_in_log
from jobs.stages.plan.replanning import Standing, standing_entries
from jobs.stages.plan.route import route_of
from jobs.stages.plan.unseen_changes import unseen_change_warnings

_TRIES = 5
_MOST_UNANSWERED_ROUNDS = 4
"""After so many rounds of parallel datasets without one answer, no further dataset is tried."""
_NOT_KNOWN = Invocation()
_NO_PLAN = Standing(0)


def make_plan(
    spec: PipelineSpec,
    run_id: str,
    settings: Settings,
    *,
    window: Window | None = None,
    only: Sequence[str] = (),
    invocation: Invocation = _NOT_KNOWN,
    moved_only: bool = False,
) -> Plan:
    """Return the plan of a run: the existing one if it is what is asked for, or a new generation, written to the lake
    (`jobs.stages.plan.replanning` decides).

    A dataset that cannot be planned (its table is missing, its columns do not fit) is `failed` in the plan and has its
    receipt. A dataset that cannot be read by the window is `skipped`. The others move.

    Args:
        window: an explicit window; it never moves the position. None: from the published position.
        only: names of the datasets to move; empty: all.
        invocation: which invocation of the run asks.
        moved_only: plan again only those datasets under which the lake or the source moved; other failures stand.

    Raises:
        LakeMoved: others planned this run at the same moment, several times.
        ConfigurationError: a setting, a connection or the window makes no sense; or no dataset can be read by the
            window; or one that `only` names cannot. Nothing was begun.
        ServiceUnavailable: a service does not answer for any dataset; nothing was begun.
    """
    documents, files = open_documents(settings.lake), PipelineFiles(spec, settings)
    request = RunRequest.of(window, only)
    for _ in range(_TRIES):
        standing = standing_entries(documents, spec, run_id, request, invocation, files=files, moved_only=moved_only)
        for name, text in standing.delivered.items():
            event("note", stage="plan", dataset=name, note=text)
        plan = standing.answer
        if plan is not None:
            break
        ensure_namespaces(open_catalog(settings))
        plan = draft_plan(
            spec, run_id, settings, window=window, only=only, invocation=invocation, standing=standing, files=files
        )
        crash_point("plan.writing", spec.pipeline)
        if documents.create(plan_key(spec.pipeline, run_id, plan.generation), plan.model_dump_json(indent=1)):
            break
        # Somebody else planned this generation at the same moment, perhaps for something else.
    else:
        raise LakeMoved(
            f"others planned run {run_id} {_TRIES} times while it was planned here",
            pipeline=spec.pipeline,
            fix="Run it again when they have ended, or under a run id of its own",
        )
    receipts, listed = Receipts(documents), RunReceipts(documents, spec.pipeline, run_id)
    for dataset in plan.datasets:
        # A process that wrote this plan and died has left none of the receipts, or some.
        if not listed.has(dataset.generation, "plan", dataset.name):
            receipts.leave(_receipt(plan, dataset))
    clear_plan_failure(documents, plan)
    return plan


def draft_plan(
    spec: PipelineSpec,
    run_id: str,
    settings: Settings,
    *,
    window: Window | None = None,
    only: Sequence[str] = (),
    invocation: Invocation = _NOT_KNOWN,
    standing: Standing = _NO_PLAN,
    files: PipelineFiles | None = None,
) -> Plan:
    """Return what a run would move, without writing it anywhere. For the errors see `make_plan`.

    Args:
        files: those of the pipeline, if they were read before.
    """
    documents = open_documents(settings.lake)
    named = [spec.dataset(name).name for name in only]
    wanted = [dataset for dataset in spec.datasets if dataset.name in named or not named]
    generation = standing.generation + 1
    keep = {dataset.name: dataset for dataset in standing.entries}
    planner = _Planner(spec, settings, documents, window, generation, may_skip=not only)
    planned = planner.plan_all(
        [dataset for dataset in wanted if dataset.name not in keep],
        beside=sum(entry.state != "skipped" for entry in keep.values()),
    )
    published = published_windows(standing, settings)
    if standing.generation and standing.plan is None and window is not None:
        # Nobody can read the plan of this run, and it may have published its window.
        published = windows_in_log(run_id, window, planned, planner.published)
    planned |= {name: load_only(planned[name], number) for name, number in published.items() if name in planned}
    return Plan(
        pipeline=spec.pipeline,
        run_id=run_id,
        generation=generation,
        request=RunRequest.of(window, only),
        invocation=invocation,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        spec=spec,
        datasets=tuple(keep.get(dataset.name) or planned[dataset.name] for dataset in wanted),
        views=(files or PipelineFiles(spec, settings)).views,
        uri=documents.uri(plan_key(spec.pipeline, run_id, generation)),
    )


class _Planner:
    """Plans the datasets of one pipeline in parallel, over one source and one catalog."""

    def __init__(
        self,
        spec: PipelineSpec,
        settings: Settings,
        documents: Documents,
        window: Window | None,
        generation: int,
        *,
        may_skip: bool,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._documents = documents
        self._window = window
        self._generation = generation
        self._may_skip = may_skip
        self._unfit: dict[str, WindowUnfit] = {}
        self._unanswered: list[ServiceUnavailable] = []
        self._answered = False
        self._pinged: bool | None = None
        self._catalog: Catalog = open_catalog(settings)
        self._opening = Lock()
        self._opened: Source | None = None
        from jobs.stages.plan.warehouse_preview import WarehouseLook

        self._warehouse = WarehouseLook(settings)

    def _source(self) -> Source:
        """Return the pipeline's source, the same for all datasets."""
        with self._opening:
            if self._opened is None:
                self._opened = source_of(self._spec, self._settings, plans_one_run=True)
            return self._opened

    def plan_all(self, datasets: Sequence[DatasetSpec], beside: int) -> dict[str, DatasetPlan]:
        """Return plans of the datasets by name.

        An error that all of `datasets` have is raised only if the plan would move nothing: `beside` is how many other
        datasets it moves.
        """
        with ThreadPoolExecutor(self._settings.datasets_in_parallel) as pool:
            planned = dict(zip((dataset.name for dataset in datasets), pool.map(self._plan, datasets), strict=True))
        if self._unanswered and not self._answered and not beside:
            raise self._unanswered[0]
        if self._unfit and (not self._may_skip or (len(self._unfit) == len(datasets) and not beside)):
            raise self._window_refused([dataset.name for dataset in datasets])
        return planned

    def _plan(self, dataset: DatasetSpec) -> DatasetPlan:
        """Plan one dataset. Its own errors are in the result; errors that all datasets share are raised."""
        if self._is_in_vain():
            first = self._unanswered[0]
            return self._not_planned(dataset, ServiceUnavailable(first.problem, where=first.where, fix=first.fix))
        try:
            planned = self._plan_derived(dataset) if dataset.derived else self._plan_source(dataset)
        except Exception as error:  # noqa: BLE001 - one dataset's failure is its own; each is reported, none swallowed
            return self._not_planned(dataset, error)
        self._answered = True
        return planned

    def _is_in_vain(self) -> bool:
        """Whether nothing answers, so that each further dataset would only wait for a timeout, too. A table that is
        locked, or topics without a leader, say nothing about the others."""
        at_once = self._settings.datasets_in_parallel
        if self._answered or len(self._unanswered) < at_once:
            return False
        return len(self._unanswered) >= _MOST_UNANSWERED_ROUNDS * at_once or not self._source_answers()

    def _source_answers(self) -> bool:
        if self._spec.source is None:
            return False
        source = self._source()
        with self._opening:
            if self._pinged is None:
                try:
                    source.ping()
                    self._pinged = True
                except LakeferryError:
                    self._pinged = False
            return self._pinged

    def _not_planned(self, dataset: DatasetSpec, error: Exception) -> DatasetPlan:
        named = located(reported(error, dataset.name), self._settings.pipelines, self._spec, dataset.name)
        entry = DatasetPlan(name=dataset.name, generation=self._generation, state="failed")
        if isinstance(named, WindowUnfit):
            self._answered = True
            if self._may_skip:
                alone = json.dumps({"datasets": [dataset.name]})
                own = f"To move it by itself, write --dataset {dataset.name}, or in Airflow the conf {alone}"
                named.fix = f"{named.fix}. {own}"
            self._unfit[dataset.name] = named
            return entry.model_copy(update={"state": "skipped", "reason": str(named), "moves_position": False})
        # Without a window the run asked for nothing, so a wrong use is this dataset's own.
        if named.is_of_all_datasets or (isinstance(named, UsageError) and self._window is not None):
            raise named from error.__cause__
        if isinstance(named, ServiceUnavailable):
            self._unanswered.append(named)
        else:
            self._answered = True
        failure = Failure.of(named)
        return entry.model_copy(update={"failure": failure})

    def _window_refused(self, names: Sequence[str]) -> LakeferryError:
        """Return the first refusal of the window, with the datasets that can be read by it."""
        first = next(iter(self._unfit.values()))
        fit = [name for name in names if name not in self._unfit]
        if fit:
            options = " ".join(f"--dataset {name}" for name in fit)
            conf = json.dumps({"datasets": fit})
            first.fix = (
                f"{first.fix}. To move the others by this window, write {options}, or in Airflow the conf {conf}"
            )
        return first

    def _plan_source(self, dataset: DatasetSpec) -> DatasetPlan:
        hashed = "hmac" in dataset.mask.values()
        mark = mask_key_fingerprint(find_mask_key(self._spec.mask_key)) if hashed else None
        source, request = self._source(), request_of(self._spec, dataset)
        base, raw = self._base(dataset.name)
        read_plan = source.plan(request, base["start_position"], self._window)
        identity = row_identity(self._spec, dataset)
        rules = freeze_rules(self._settings.expectations, dataset)
        check_columns(dataset, read_plan.columns, identity.columns, rules)
        keys = None
        if dataset.deletes == "sweep" and self._window is None and base["batch"] > 1:
            assert isinstance(source, KeyScanSource), "jobs.spec.deletes refuses other sources"
            keys = source.plan_key_scan(request, read_plan)
        arriving = lake_columns_after(dataset.mask, [*read_plan.columns, *identity.columns])
        drift = check_drift(
            dataset,
            arriving,
            raw,
            self._documents,
            source_key=read_plan.primary_key,
            unique_keys=read_plan.unique_keys,
            mask_key_mark=mark,
        )
        looked = self._warehouse.look(dataset, lambda: self._lake(dataset.name), arriving)
        warnings = (*read_plan.warnings, *drift, *privacy_warnings(source, request, read_plan.columns), *looked)
        warnings += unseen_change_warnings(source, request, dataset)
        warnings += expiry_warnings(dataset.bigquery, source, request, read_plan)
        for warning in warnings:
            event("warning", stage="plan", dataset=dataset.name, warning=warning)
        for note in read_plan.notes:
            event("note", stage="plan", dataset=dataset.name, note=note)
        return DatasetPlan(
            name=dataset.name,
            generation=self._generation,
            state="planned" if read_plan.slices or keys else "empty",
            reason=None if read_plan.slices or keys else nothing_new(read_plan),
            moves_position=self._window is None,
            source=read_plan.model_copy(update={"warnings": warnings}),
            keys=keys,
            mask_key_mark=mark,
            identity=identity,
            lake_columns=(*arriving, DELETED) if dataset.deletes == "sweep" else arriving,
            rules=rules,
            route=route_of(dataset, source, read_plan, rules),
            key_guarantee=key_guarantee(dataset, read_plan),
            **base,
        )

    def _plan_derived(self, dataset: DatasetSpec) -> DatasetPlan:
        if self._window is not None:
            raise WindowUnfit("a derived dataset takes no window: it follows its inputs", fix="Leave start and end out")
        if dataset.transform is not None:
            check_transform(dataset.transform, self._settings)
        rules = freeze_rules(self._settings.expectations, dataset)
        for warning in self._warehouse.look(dataset, lambda: self._lake(dataset.name)):
            event("warning", stage="plan", dataset=dataset.name, warning=warning)
        base, _ = self._base(dataset.name)
        pins, missing, absent = pin_inputs(self._catalog, dataset.inputs)
        check_inputs(self._settings.pipelines, absent, dataset.inputs)
        before = {name: Pin.model_validate(pin) for name, pin in (base["start_position"] or {}).items()}
        # A curated table that was created again does not show what changed: all partitions are built.
        previous = {
            name: pin
            for name, pin in before.items()
            if name in pins and pin.table_uuid in (None, pins[name].table_uuid)
        }
        moved = any(name not in previous or pin.batch != previous[name].batch for name, pin in pins.items())
        reason = f"no data yet in {', '.join(missing)}" if missing else None if moved else "no input has changed"
        return DatasetPlan(
            name=dataset.name,
            generation=self._generation,
            state="empty" if reason else "planned",
            reason=reason,
            pins=None if missing else pins,
            previous_pins=previous or None,
            where=line_of(self._settings.pipelines, self._spec, dataset.name) if self._spec.file else None,
            rules=rules,
            **base,
        )

    def published(self, dataset: str) -> Sequence[PublishedBatch]:
        """Return the batches of a dataset, as they stand now."""
        return self._lake(dataset)[1]

    def _lake(self, dataset: str) -> tuple[Table | None, Sequence[PublishedBatch]]:
        """Return a dataset's raw table as it stands now, and its batches."""
        raw = find_table(self._catalog, RAW, dataset)
        return raw, verified_batches(raw)

    def _base(self, dataset: str) -> tuple[dict[str, Any], Table | None]:
        """Return what a plan says of the batch it builds on, and the raw table from which that was read."""
        # Curated first: if another run merges a batch into it meanwhile, that batch is in raw by then.
        curated = find_table(self._catalog, CURATED, dataset)
        table, published = self._lake(dataset)
        verified_consumed(curated, table, published)
        check_owner(self._spec, dataset, published)
        last = published[-1] if published else None
        snapshot = table.current_snapshot() if table else None
        position: dict[str, JsonValue] | None = read_position(self._documents, last.position) if last else None
        base = {
            "batch": (last.batch if last else 0) + 1,
            "base_snapshot_id": snapshot.snapshot_id if snapshot else None,
            "start_position": position,
        }
        return base, table


_VERDICTS: dict[State, Verdict] = {"planned": "done", "empty": "empty", "failed": "failed", "skipped": "skipped"}


def _receipt(plan: Plan, dataset: DatasetPlan) -> Receipt:
    window = dataset.window
    return Receipt(
        pipeline=plan.pipeline,
        run_id=plan.run_id,
        generation=dataset.generation,
        stage="plan",
        dataset=dataset.name,
        verdict=_VERDICTS[dataset.state],
        batch=dataset.batch or None,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        **(dataset.failure.model_dump() if dataset.failure else {}),
        details=Planned(
            reason=dataset.reason,
            plan=plan.uri,
            slices=len(dataset.source.slices) if dataset.source else 0,
        ),
    )


def report_failures(plan: Plan) -> int:
    """Report which datasets could not be planned and why; on stderr each reason once.

    Returns:
        The highest exit code among them, 0 if all were planned.
    """
    for dataset, failure in plan.failures.items():
        event(
            "failed",
            stage="plan",
            dataset=dataset,
            **failure.model_dump(include={"error", "error_type", "error_code", "recovery"}),
        )
    if as_json():
        for text in dict.fromkeys(failure.error for failure in plan.failures.values()):
            print(text, file=sys.stderr)  # noqa: T201
    return max((failure.exit_code for failure in plan.failures.values()), default=0)
