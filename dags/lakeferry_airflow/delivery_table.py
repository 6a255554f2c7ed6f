"""Deliveries of many datasets as plain text for a log, of which a person reads the end first."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakeferry_airflow.deliveries import Delivery

_HEADINGS = ("dataset", "state", "batch", "read", "published", "quarantined", "loaded", "seconds", "why")
_TEXT_COLUMNS = (0, 1, 8)
_MOST_NAMES = 10


def table_lines(deliveries: Sequence[Delivery]) -> list[str]:
    """One line per reason for all datasets that had nothing to deliver, then a table with a line for each of the
    others, of which those that failed come last."""
    alike = defaultdict(list)
    for delivery in deliveries:
        if delivery.state == "nothing":
            alike[delivery.reason].append(delivery.dataset)
    lines = [f"{len(names)} × {reason}: {listed(names)}" for reason, names in alike.items()]
    shown = sorted(
        (delivery for delivery in deliveries if delivery.state != "nothing"),
        key=lambda delivery: (delivery.state == "failed", delivery.dataset),
    )
    if not shown:
        return lines
    rows = [_HEADINGS, *map(_cells, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return [*lines, *("  ".join(_aligned(row, widths)).rstrip() for row in rows)]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _cells(delivery: Delivery) -> tuple[str, ...]:
    counts = (delivery.batch, delivery.read, delivery.published, delivery.quarantined, delivery.loaded)
    return (
        delivery.dataset,
        delivery.state,
        *("" if count is None else f"{count:,}" for count in counts),
        f"{delivery.seconds:.1f}",
        "" if delivery.state == "delivered" else delivery.reason.partition("\n")[0],
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if column in _TEXT_COLUMNS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
