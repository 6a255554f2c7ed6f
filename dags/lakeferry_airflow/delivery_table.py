"""Deliveries of many datasets as a table of plain text, one line per dataset, for a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakeferry_airflow.deliveries import Delivery

_HEADINGS = ("dataset", "state", "batch", "read", "published", "quarantined", "loaded", "seconds", "why")
_ORDER = ("failed", "delivered", "nothing")
_TEXT_COLUMNS = (0, 1, 8)


def table_lines(deliveries: Sequence[Delivery]) -> list[str]:
    """The lines, headings first; what failed comes before what was delivered, and what had nothing to deliver last."""
    rows = [_HEADINGS, *(_cells(delivery) for delivery in sorted(deliveries, key=_place))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _place(delivery: Delivery) -> tuple[int, str]:
    return _ORDER.index(delivery.state), delivery.dataset


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
