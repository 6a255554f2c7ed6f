"""The curated views of a pipeline: SQL files beside its YAML, one SELECT each, created in BigQuery after load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from connectors.bigquery.client import Warehouse
from connectors.bigquery.cost import refuse_above
from connectors.bigquery.tables import find_table, put_view, scan_of_view
from connectors.errors import LakeferryError, SpecError
from connectors.yaml.text_files import read_text
from jobs.runs.failures import reported
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec, ViewSpec
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


def apply_views(spec: PipelineSpec, settings: Settings, report: Callable[[ViewResult], None] = _no_one) -> list[str]:
    """Create or replace the pipeline's views. Returns the names of those created.

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
    for result in _applied(spec, settings):
        report(result)
        results.append(result)
    failures = sorted((result.error for result in results if result.error), key=lambda error: -error.exit_code)
    for other in failures[1:]:
        event("failed", stage="views", error=str(other), error_type=type(other).__name__)
    if failures:
        raise failures[0]
    return [result.view for result in results if result.verdict == "done"]


def _applied(spec: PipelineSpec, settings: Settings) -> Iterator[ViewResult]:
    if not spec.views:
        return
    try:
        warehouse = open_warehouse(settings)
        warehouse.ping()
    except LakeferryError as error:
        error.located(pipeline=spec.pipeline)
        yield from (ViewResult(view.name, "failed", 0.0, error=error) for view in spec.views)
        return
    for view in spec.views:
        started = time.monotonic()
        try:
            missing = _apply(view, spec, settings, warehouse)
        except Exception as raised:  # noqa: BLE001 - one view's failure is its own; each is reported, none swallowed
            failure = reported(raised, view.name).located(pipeline=spec.pipeline)
            yield ViewResult(view.name, "failed", time.monotonic() - started, error=failure)
            continue
        verdict: Literal["done", "skipped"] = "skipped" if missing else "done"
        yield ViewResult(view.name, verdict, time.monotonic() - started, reason=missing)


def _apply(view: ViewSpec, spec: PipelineSpec, settings: Settings, warehouse: Warehouse) -> str | None:
    """Create the view. Returns the reason if it is skipped."""
    text = read_view(settings.pipelines / view.sql, spec.pipeline)
    missing = [name for name in tables_of(text) if find_table(warehouse, name) is None]
    if missing:
        reason = f"no table {', '.join(missing)} yet"
        event("skipped", stage="views", view=view.name, reason=reason)
        return reason
    _put(warehouse, view, text, spec, settings.max_bytes_billed)
    return None


def read_view(path: Path, pipeline: str | None = None) -> str:
    """Return the text of a view's file, after checking that it is one SELECT whose tables are written `dataset.table`.

    Raises:
        SpecError: it is not, or is not there; with file and line.
    """
    try:
        text = read_text(path)
    except SpecError as error:
        raise error.located(pipeline=pipeline) from None
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect="bigquery") if statement is not None]
    except SqlglotError as error:
        found = getattr(error, "errors", None) or [{}]
        said = str(found[0].get("description") or error).splitlines()[0].split(" <Token")[0]
        line = found[0].get("line") or 1
        raise SpecError(f"not GoogleSQL: {said}", where=f"{path.name}:{line}", pipeline=pipeline) from None
    except RecursionError:
        raise SpecError("the query is nested too deep to be read", where=path.name, pipeline=pipeline) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        second = statements[1] if len(statements) > 1 else (statements[0] if statements else None)
        raise SpecError(
            f"a view is one SELECT, here are {len(statements)} statements"
            if len(statements) != 1
            else f"a view is one SELECT, this is {statements[0].key.upper()}",
            where=f"{path.name}:{_line(second)}",
            pipeline=pipeline,
            fix="Leave the SELECT only",
        )
    for table in _tables(statements[0]):
        if not table.db or table.catalog:
            raise SpecError(
                f"table {table.sql(dialect='bigquery')} is not written dataset.table",
                where=f"{path.name}:{_line(table)}",
                pipeline=pipeline,
                fix="The project is LAKEFERRY_WAREHOUSE_PROJECT: write the dataset and the table, without it",
            )
    return text


def tables_of(text: str) -> list[str]:
    """Return the `dataset.table` names that a view reads, in order, each once."""
    query = sqlglot.parse_one(text, dialect="bigquery")
    return list(dict.fromkeys(f"{table.db}.{table.name}" for table in _tables(query)))


def with_project(text: str, project: str) -> str:
    """Return the same text with the project before each table's name; nothing else is changed.

    A view that is read from another project would otherwise look for its tables there.
    """
    query = sqlglot.parse_one(text, dialect="bigquery")
    starts = sorted({int(table.args["db"].meta["start"]) for table in _tables(query)}, reverse=True)
    for start in starts:
        text = f"{text[:start]}`{project}`.{text[start:]}"
    return text


def _put(warehouse: Warehouse, view: ViewSpec, text: str, spec: PipelineSpec, most_bytes: int | None) -> None:
    sql = with_project(text, warehouse.address.project)
    try:
        if most_bytes is not None:
            size = scan_of_view(warehouse, sql)
            refuse_above(most_bytes, size, f"each look at view {view.name}", "LAKEFERRY_MAX_BYTES_BILLED")
        put_view(warehouse, view.name, sql, view.description)
    except LakeferryError as error:
        error.where = error.where or view.sql
        raise error.located(pipeline=spec.pipeline) from None


def _tables(query: exp.Expr) -> list[exp.Table]:
    """Return the tables of the warehouse. Names of WITH clauses and UNNESTed columns are not tables."""
    named = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    tables = (table for table in query.find_all(exp.Table) if isinstance(table.this, exp.Identifier))
    return [table for table in tables if table.db or table.name not in named]


def _line(node: exp.Expr | None) -> int:
    lines = [int(part.meta["line"]) for part in node.find_all(exp.Expr) if "line" in part.meta] if node else []
    return min(lines, default=1)
