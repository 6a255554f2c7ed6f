"""What `lakeferry quarantine` shows: one line per reason, or the rows themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from jobs.reporting.quarantine import SetAside


@dataclass
class _Reason:
    """What the runs of a pipeline set aside of one dataset for one reason."""

    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    least: int = 0
    most: int = 0
    place: str = ""

    def add(self, entry: SetAside) -> None:
        self.first = min((at for at in (self.first, entry.first_at) if at), default=None)
        self.last = max((at for at in (self.last, entry.last_at) if at), default=None)
        self.least = min(self.least, entry.batch) if self.rows else entry.batch
        self.most = max(self.most, entry.batch)
        self.rows += entry.rows
        self.place = self.place or next((place for place, _ in entry.examples), "")


def reasons_table(entries: Iterable[SetAside]) -> Table:
    """One line per dataset and reason: rows, when and in which batches, the place of one row at the source. Rows of
    runs whose batch was not published have a line of their own. No line has a row's record."""
    reasons: dict[tuple[str, str, bool], _Reason] = {}
    for entry in entries:
        reasons.setdefault((entry.dataset, entry.reason, entry.published), _Reason()).add(entry)
    table = Table("dataset", "rows", "first (UTC)", "last (UTC)", "batch", "an example's place", "reason")
    for (dataset, reason, published), rejections in reasons.items():
        batch = (
            str(rejections.least) if rejections.least == rejections.most else f"{rejections.least} to {rejections.most}"
        )
        table.add_row(
            dataset,
            f"{rejections.rows:,}",
            _minute(rejections.first),
            _minute(rejections.last),
            batch if published else f"{batch}, not published",
            escape(rejections.place),
            escape(reason),
        )
    return table


def record_lines(entries: Iterable[SetAside]) -> Iterator[str]:
    """The examples of each run and reason, under a line that says which they are: a place and a record per line."""
    for entry in entries:
        if not entry.examples:
            continue
        batch = f"batch {entry.batch}" if entry.published else f"batch {entry.batch}, not published"
        count = f"{len(entry.examples):,} of {entry.rows:,}"
        yield f"{entry.dataset}, {batch}, run {entry.run_id}: {entry.reason} ({count})"
        for place, record in entry.examples:
            yield f"  {place}  {record}"


def _minute(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if at else ""
