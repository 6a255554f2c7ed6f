"""What a report says of one view: sums by day and value, exact, with separate lines for a few values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from connectors.bigquery.client import JOB_SECONDS, RETRY, Warehouse
from connectors.bigquery.statements import quoted
from connectors.bigquery.tables import find_table
from jobs.reporting.report.statements import Shape, by_day, shape_of, totals
from jobs.spec.models import ViewSpec

SHOWN_DAYS = 90
SHOWN_VALUES = 8
FEW = 50
"""A text with so many values at most is one to tell rows apart by; a name or a memo is not."""
Number = int | float | Decimal | None


@dataclass(frozen=True)
class Line:
    """Rows and the sums of the view's numbers: of one value, one day, or both."""

    rows: int
    sums: tuple[Number, ...]

    def __add__(self, other: Line) -> Line:
        return Line(self.rows + other.rows, tuple(_add(a, b) for a, b in zip(self.sums, other.sums, strict=True)))


@dataclass(frozen=True)
class ViewFacts:
    """One view. `values` are those that distinguish rows, most rows first; the last may stand for all the others.

    `cells` are lines by day and place in `values`; `everything` is the whole view, days that are not shown too.
    """

    view: ViewSpec
    shape: Shape
    text: str | None
    values: tuple[str, ...]
    cells: dict[tuple[date | None, int], Line]
    first: date | None
    last: date | None
    shown_from: date | None
    everything: Line

    @property
    def by_value(self) -> list[tuple[str, Line]]:
        return [(name, self._sum(place=place)) for place, name in enumerate(self.values)]

    @property
    def by_day(self) -> list[tuple[date, Line]]:
        days = sorted({day for day, _ in self.cells if day is not None}, reverse=True)
        return [(day, self._sum(day=day)) for day in days]

    @property
    def shown(self) -> Line:
        return self._sum()

    def _sum(self, place: int | None = None, day: date | None = None) -> Line:
        total = Line(0, (None,) * len(self.shape.numbers))
        for (at, where), line in self.cells.items():
            if (place is None or place == where) and (day is None or day == at):
                total += line
        return total


def facts_of(warehouse: Warehouse, view: ViewSpec, most_bytes: int | None = None) -> ViewFacts | None:
    """Ask BigQuery about one view, in two statements, each refused where it would bill more than `most_bytes`; None
    where it is not there."""
    table = find_table(warehouse, view.name)
    if table is None:
        return None
    name = quoted(warehouse.address.project, *view.name.split("."))
    fields = table.schema or _answered(warehouse, name)
    shape = shape_of([(field.name, field.field_type) for field in fields if field.mode != "REPEATED"])
    rows, first, last, *rest = warehouse.query(totals(name, shape), most_bytes)[0]
    sums, distinct = rest[: len(shape.numbers)], rest[len(shape.numbers) :]
    text = next((text for text, count in zip(shape.texts, distinct, strict=True) if 1 < count <= FEW), None)
    shown_from = max(first, last - timedelta(days=SHOWN_DAYS - 1)) if last else None
    answer = warehouse.query(by_day(name, shape, text, shown_from), most_bytes)
    values, cells = folded(answer, keeps_values=text is not None)
    return ViewFacts(view, shape, text, values, cells, first, last, shown_from, Line(rows, tuple(sums)))


def _answered(warehouse: Warehouse, name: str) -> Sequence[Any]:
    """The columns of an answer: the emulator knows none of a view itself."""
    with warehouse.translated():
        job = warehouse.client.query(f"SELECT * FROM {name} LIMIT 0", retry=RETRY, timeout=JOB_SECONDS)
        fields: Sequence[Any] = job.result(retry=RETRY, timeout=JOB_SECONDS).schema
        return fields


def folded(
    answer: Sequence[tuple[Any, ...]], *, keeps_values: bool
) -> tuple[tuple[str, ...], dict[tuple[date | None, int], Line]]:
    """The values with most rows, and what there is by day and value; the other values are one.

    Args:
        answer: day, value, rows and sums, each day and value once.
    """
    weight: dict[str | None, int] = {}
    for _, value, rows, *_ in answer:
        weight[value] = weight.get(value, 0) + rows
    order = sorted(weight, key=lambda value: (-weight[value], value is None, value or ""))
    names = [("no value" if value is None else value) if keeps_values else "all" for value in order[:SHOWN_VALUES]]
    if len(order) > SHOWN_VALUES:
        names.append(f"{len(order) - SHOWN_VALUES} others")
    cells: dict[tuple[date | None, int], Line] = {}
    for day, value, rows, *sums in answer:
        key = (day, min(order.index(value), SHOWN_VALUES))
        line = Line(rows, tuple(sums))
        cells[key] = cells[key] + line if key in cells else line
    return tuple(names), cells


def _add(one: Number, other: Number) -> Number:
    if one is None or other is None:
        return other if one is None else one
    return one + other  # type: ignore[operator]  # of one column, so of one type
