"""The partitions of a table: what names one, and the condition, all literals, that BigQuery prunes by.

BigQuery leaves partitions out of a scan only for conditions it can settle before it runs ("Query partitioned
tables" in its documentation): a comparison of the bare column with constants. A join with staging is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal

Granularity = Literal["HOUR", "DAY", "MONTH", "YEAR"]
PartitionName = date | int | None
"""What `Partitioning.name_of` gives: where the partition begins (a datetime is a date, too), its number, or NULL."""
MOST_SPANS = 500
"""Ranges in one condition; each has two literals. Beyond that the narrowest gaps between them are closed."""


@dataclass(frozen=True)
class IntegerRange:
    """Partitions of `interval` integers from `start` to before `end`; what lies outside is in one of its own."""

    start: int
    end: int
    interval: int

    @property
    def partitions(self) -> int:
        return -(-(self.end - self.start) // self.interval)


@dataclass(frozen=True)
class Partitioning:
    """How a table is partitioned: by time where `integers` is None. `kind` is GoogleSQL's word for the column's type.
    `filter_required`: BigQuery refuses queries that name no partitions."""

    column: str
    kind: str
    granularity: Granularity = "DAY"
    integers: IntegerRange | None = None
    filter_required: bool = False

    def __str__(self) -> str:
        if self.integers is not None:
            return f"{self.column}, {self.integers.start} to {self.integers.end} in steps of {self.integers.interval}"
        return self.column if self.granularity == "DAY" else f"{self.column} by {self.granularity.lower()}"

    def name_of(self, value: str) -> str:
        """SQL for what names the partition a value lies in: its beginning, or its number among integer ranges, where
        -1 is below all of them and `partitions` above. NULL names that of NULLs."""
        if self.integers is None:
            return f"{self.kind}_TRUNC({value}, {self.granularity})"
        within = self.integers
        # The emulator makes `a - b // c` of DIV(a - b, c): the parentheses are for it.
        return (
            f"CASE WHEN {value} < {within.start} THEN -1 WHEN {value} >= {within.end} THEN {within.partitions} "
            f"ELSE DIV(({value} - {within.start}), {within.interval}) END"
        )

    def condition(self, names: Iterable[PartitionName], column: str) -> str | None:
        """Whether the column lies in one of the partitions of these names; None: no names.

        Neighbours are one range, and of more than `MOST_SPANS` ranges the nearest are made one: a wider
        condition scans more and is as right.
        """
        found = set(names)
        numbers = sorted(self._number(name) for name in found if name is not None)
        arms = []
        for first, last in _spans(numbers):
            bounds = [
                f"{column} {sign} {bound}"
                for sign, bound in ((">=", self._begin(first)), ("<", self._begin(last + 1)))
                if bound is not None
            ]
            arms.append(f"({' AND '.join(bounds) or f'{column} IS NOT NULL'})")
        if None in found:
            arms.append(f"{column} IS NULL")
        return " OR ".join(arms) if arms else None

    def _number(self, name: date | int) -> int:
        """Partitions in a row have numbers in a row."""
        if isinstance(name, int):
            return name
        if self.granularity == "YEAR":
            return name.year
        if self.granularity == "MONTH":
            return name.year * 12 + name.month - 1
        day = name.toordinal()
        return day if self.granularity == "DAY" else day * 24 + (name.hour if isinstance(name, datetime) else 0)

    def _begin(self, number: int) -> str | None:
        """The literal a partition begins with; None where there is none before it, or after the last."""
        if self.integers is not None:
            within = self.integers
            if number < 0 or number > within.partitions:
                return None
            return str(min(within.start + number * within.interval, within.end))
        try:
            moment = self._moment(number)
        except (OverflowError, ValueError):
            return None
        if self.kind == "TIMESTAMP":
            return f"TIMESTAMP '{moment.isoformat(sep=' ')}+00'"
        text = moment.isoformat(sep=" ") if self.granularity == "HOUR" else moment.date().isoformat()
        return f"{self.kind} '{text}'"

    def _moment(self, number: int) -> datetime:
        if self.granularity == "YEAR":
            return datetime(number, 1, 1)
        if self.granularity == "MONTH":
            return datetime(number // 12, number % 12 + 1, 1)
        day, hour = (number, 0) if self.granularity == "DAY" else divmod(number, 24)
        return datetime.combine(date.fromordinal(day), time()) + timedelta(hours=hour)


def every_row(column: str) -> str:
    """A condition all rows meet that names the partition column, as a table asks for whose `require_partition_filter`
    is set."""
    return f"({column} IS NULL OR {column} IS NOT NULL)"


def _spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted numbers as (first, last), neighbours in one, no more than `MOST_SPANS` of them."""
    gaps = sorted((after - before for before, after in pairwise(numbers)), reverse=True)
    widest_closed = max(1, gaps[MOST_SPANS - 1]) if len(gaps) >= MOST_SPANS else 1
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number - spans[-1][1] <= widest_closed:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans
