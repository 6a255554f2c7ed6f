"""The table of `lakeferry status`: for each dataset how fresh and how whole it is, and the views that failed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from jobs.reporting.status import DatasetStatus
from jobs.runs.receipts import Receipt


def status_table(datasets: Sequence[DatasetStatus], failed_views: Sequence[Receipt]) -> Table:
    """One line per dataset, then one per view that could not be created."""
    table = Table("pipeline", "dataset", "last published window", "fresh", "rows", "batch", "last result", "note")
    for entry in datasets:
        window = f"{entry.window_start or '…'} to {entry.window_end}" if entry.window_end else ""
        colour = {"done": "green", "empty": "green", "failed": "red"}.get(entry.result, "yellow")
        table.add_row(
            entry.pipeline,
            entry.dataset,
            window,
            _ago(entry.freshness_seconds),
            "" if entry.rows is None else f"{entry.rows:,}",
            str(entry.batch),
            f"[{colour}]{entry.result}[/]",
            escape(entry.error or _all_rejected(entry.rejected_rows)),
        )
    for view in failed_views:
        name = f"view {view.dataset}"
        table.add_row(view.pipeline, name, "", "", "", "", "[red]failed[/]", escape(view.error or ""))
    return table


def _all_rejected(rows: int) -> str:
    return f"every row of the last batch was rejected ({rows:,})" if rows else ""


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
