"""What `lakeferry plan` shows: what a run would move, how, by which rules, and which views load would create."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from rich.markup import escape
from rich.table import Table

from connectors import source_class
from jobs.contracts.rules import suite_of
from jobs.runs.plan_document import DatasetPlan, FrozenView, Pin, Plan
from jobs.runs.plan_words import reach
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import PipelineSpec

_SHA_DIGITS = 12
"""Digits of a SHA-256 that are shown."""
_NO_DUPLICATES = {
    "none": "counted by check",
    "one_row_per_version": "guaranteed by the source, per version",
    "one_row_per_key": "guaranteed by the source",
}


def plan_tables(spec: PipelineSpec, plan: Plan) -> Iterator[Table]:
    """The tables that show a plan: what moves, how it moves, and the views."""
    yield _moves(spec, plan)
    moving = [entry for entry in plan.datasets if entry.state in ("planned", "empty")]
    if moving:
        yield _ways(moving)
    if plan.views:
        yield _views(plan.views)


def _moves(spec: PipelineSpec, plan: Plan) -> Table:
    table = Table("dataset", "state", "from", "to", "slices", "batch", "why", title=f"Plan of {spec.pipeline}")
    for entry in plan.datasets:
        table.add_row(
            entry.name,
            entry.state,
            *_reach(spec, entry),
            _slices(entry),
            str(entry.batch or ""),
            entry.reason or ("said below" if entry.failure else ""),
        )
    return table


def _ways(entries: list[DatasetPlan]) -> Table:
    table = Table("dataset", "route", "why", "unique keys", "rules", title="How they move")
    for entry in entries:
        route = entry.route
        table.add_row(
            entry.name,
            route.kind if route else "transform",
            route.reason if route else "the transform builds the rows from its inputs",
            _NO_DUPLICATES[entry.key_guarantee],
            _rules(entry.rules) if entry.rules else "",
        )
    return table


def _rules(rules: FrozenFile) -> str:
    suite = suite_of(rules)
    counted = f"{len(suite.rows)} of rows, {len(suite.dataset)} of the dataset"
    return f"{rules.name}: {counted} (SHA-256 {rules.sha256[:_SHA_DIGITS]})"


def _views(views: tuple[FrozenView, ...]) -> Table:
    table = Table("view", "SQL", "SHA-256", "problem", title="Views that load creates")
    for view in views:
        sql, failure = view.sql, view.failure
        table.add_row(
            view.name,
            sql.name if sql else "",
            sql.sha256[:_SHA_DIGITS] if sql else "",
            escape(failure.error) if failure else "",
        )
    return table


def _reach(spec: PipelineSpec, entry: DatasetPlan) -> tuple[str, str]:
    """Where a dataset's part of a plan starts and ends, in words."""
    if entry.failure or entry.state == "skipped":
        return "", ""
    if entry.window:
        return reach(entry.window, is_empty=entry.state == "empty")

    def in_words(position: Mapping[str, JsonValue] | None, otherwise: str) -> str:
        if not position:
            return otherwise
        if spec.source is None:
            return ", ".join(f"batch {Pin.model_validate(pin).batch} of {name}" for name, pin in position.items())
        return source_class(spec.source.type).describe_position(position)

    return in_words(entry.start_position, "the beginning"), in_words(entry.position, "now")


def _slices(entry: DatasetPlan) -> str:
    if entry.source is None:
        return ""
    rows = str(len(entry.source.slices))
    return f"{rows}, {len(entry.keys.read.slices)} of keys" if entry.keys else rows
