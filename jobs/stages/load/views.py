"""Creates the curated views of a pipeline in BigQuery after load, from the SQL that its plan holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from connectors.bigquery.client import Warehouse
from connectors.bigquery.cost import check_scanned_bytes
from connectors.bigquery.tables import find_table, put_view, scan_of_view
from connectors.errors import LakeferryError, SpecError
from jobs.contracts.view_sql import check_view_sql, tables_of, with_project
from jobs.runs.failures import reported
from jobs.runs.plan_document import FrozenView
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.warehouse.client import open_warehouse


@dataclass(frozen=True)
class ViewResult:
    """The result for one view: it was created, or skipped for a `reason`, or it failed with an `error`."""

    view: str
    verdict: Literal["done", "skipped", "failed"]
    seconds: float
    reason: str | None = None
    error: LakeferryError | None = None


def _no_one(result: ViewResult) -> None:
    pass


def apply_views(
    pipeline: str,
    views: Sequence[FrozenView],
    settings: Settings,
    report: Callable[[ViewResult], None] = _no_one,
) -> list[str]:
    """Create or replace the views of a pipeline, as its plan holds them. Returns the names of those created.

    A view whose tables are not there yet is skipped and reported: another pipeline may not have run. A view that fails
    does not stop the others. If several fail, the first failure of the highest exit code is raised, and the others are
    events.

    Args:
        report: takes the result of each view, even if BigQuery does not answer at all.

    Raises:
        SpecError: a file is not one SELECT over `dataset.table` names; with file and line.
        ConfigurationError: BigQuery refuses a view.
        LoadRefused: a look at a view would scan more than `LAKEFERRY_MAX_BYTES_BILLED`.
    """
    results = []
    for result in _applied(pipeline, views, settings):
        report(result)
        results.append(result)
    failures = sorted((result.error for result in results if result.error), key=lambda error: -error.exit_code)
    for other in failures[1:]:
        event("failed", stage="views", **other.fields())
    if failures:
        raise failures[0]
    return [result.view for result in results if result.verdict == "done"]


def _applied(pipeline: str, views: Sequence[FrozenView], settings: Settings) -> Iterator[ViewResult]:
    if not views:
        return
    try:
        warehouse = open_warehouse(settings)
        warehouse.ping()
    except LakeferryError as error:
        error.located(pipeline=pipeline)
        yield from (ViewResult(view.name, "failed", 0.0, error=error) for view in views)
        return
    for view in views:
        started = time.monotonic()
        try:
            missing = _apply(view, pipeline, settings, warehouse)
        except Exception as raised:  # noqa: BLE001 - one view's failure is its own; each is reported, none swallowed
            failure = reported(raised, view.name).located(pipeline=pipeline)
            yield ViewResult(view.name, "failed", time.monotonic() - started, error=failure)
            continue
        verdict: Literal["done", "skipped"] = "skipped" if missing else "done"
        yield ViewResult(view.name, verdict, time.monotonic() - started, reason=missing)


def _apply(view: FrozenView, pipeline: str, settings: Settings, warehouse: Warehouse) -> str | None:
    """Create the view. Returns the reason if it is skipped."""
    if view.sql is None:
        raise SpecError(view.failure.error if view.failure else f"the plan has no SQL of view {view.name}")
    text, file_name = view.sql.text, view.sql.name
    check_view_sql(text, file_name, pipeline)
    missing = [name for name in tables_of(text) if find_table(warehouse, name) is None]
    if missing:
        reason = f"no table {', '.join(missing)} yet"
        event("skipped", stage="views", view=view.name, reason=reason)
        return reason
    sql = with_project(text, warehouse.address.project)
    try:
        if settings.max_bytes_billed is not None:
            scan = f"each look at view {view.name}"
            check_scanned_bytes(
                settings.max_bytes_billed, scan_of_view(warehouse, sql), scan, "LAKEFERRY_MAX_BYTES_BILLED"
            )
        put_view(warehouse, view.name, sql, view.description)
    except LakeferryError as error:
        error.where = error.where or file_name
        raise error.located(pipeline=pipeline) from None
    return None
