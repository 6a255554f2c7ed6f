"""The GoogleSQL a report is made of: two aggregates a view, nothing row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from connectors.bigquery.statements import quoted

MOST_NUMBERS = 6
_DAYS = ("DATE", "DATETIME", "TIMESTAMP")
_NUMBERS = ("INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC")
DayType = Literal["DATE", "DATETIME", "TIMESTAMP"]


@dataclass(frozen=True)
class Shape:
    """What of a view can be drawn: the column that says the day, numbers that can be summed, texts to tell by."""

    day: str | None
    day_type: DayType
    numbers: tuple[str, ...]
    texts: tuple[str, ...]


def shape_of(fields: Sequence[tuple[str, str]]) -> Shape:
    """What can be drawn of these columns (name, type as BigQuery's API says it).

    A DATE goes before an instant: somebody has said which day a row belongs to. A number that is an id is not summed.
    """
    days = [(name, kind) for name, kind in fields if kind in _DAYS]
    day, kind = min(days, key=lambda column: column[1] != "DATE", default=(None, "DATE"))
    numbers = [name for name, kind in fields if kind in _NUMBERS and not _is_id(name)]
    return Shape(
        day=day,
        day_type="DATETIME" if kind == "DATETIME" else "TIMESTAMP" if kind == "TIMESTAMP" else "DATE",
        numbers=tuple(numbers[:MOST_NUMBERS]),
        texts=tuple(name for name, kind in fields if kind == "STRING" and not _is_id(name)),
    )


def totals(view: str, shape: Shape) -> str:
    """One row: rows, first and last day, the sum of each number, about how many values each text has.

    Args:
        view: its name, quoted already.
    """
    day = f"DATE({quoted(shape.day)})" if shape.day else "CAST(NULL AS DATE)"
    parts = ["COUNT(*)", f"MIN({day})", f"MAX({day})", *_sums(shape)]
    parts += [f"APPROX_COUNT_DISTINCT({quoted(name)})" for name in shape.texts]
    return f"SELECT {', '.join(parts)} FROM {view}"


def by_day(view: str, shape: Shape, text: str | None, first: date | None) -> str:
    """Day, text, rows and sums, for the days from `first` on; without a `text` or a day these are NULL."""
    day = f"DATE({quoted(shape.day)})" if shape.day else "CAST(NULL AS DATE)"
    text_sql = quoted(text) if text else "CAST(NULL AS STRING)"
    where = f" WHERE {quoted(shape.day)} >= {shape.day_type} '{first.isoformat()}'" if shape.day and first else ""
    columns = ", ".join([f"{day} AS report_day", f"{text_sql} AS report_text", "COUNT(*)", *_sums(shape)])
    return f"SELECT {columns} FROM {view}{where} GROUP BY report_day, report_text ORDER BY report_day, report_text"


def _sums(shape: Shape) -> list[str]:
    return [f"SUM({quoted(name)})" for name in shape.numbers]


def _is_id(name: str) -> bool:
    return name.lower() == "id" or name.lower().endswith("_id") or name.startswith("_")
