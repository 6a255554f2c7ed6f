"""The partitions of a table: their names, and conditions made of literals, by which BigQuery prunes.

BigQuery leaves partitions out of a scan only for conditions that it can evaluate before it runs ("Query partitioned
tables" in its documentation): comparisons of the bare column with constants. A join with staging is not one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal

Granularity = Literal["HOUR", "DAY", "MONTH", "YEAR"]
PartitionName = date | int | None
"""The result of `Partitioning.name_of`: where the partition begins (a datetime is a date, too), its number, or NULL."""
MOST_SPANS = 500
"""The most ranges in one condition; each has two literals."""
MOST_MODIFIED = 4_000
"""Partitions that one job may modify ("Quotas and limits" in BigQuery's documentation, Partitioned tables). Each
statement of a script is its own job. All statements of a transaction may modify 100,000 ("Multi-statement
transactions", Limitations)."""


@dataclass(frozen=True)
class IntegerRange:
    """Partitions of `interval` integers from `start` to before `end`; integers outside are in a partition of their
    own."""

    start: int
    end: int
    interval: int

    @property
    def partitions(self) -> int:
        return -(-(self.end - self.start) // self.interval)


@dataclass(frozen=True)
class Partitioning:
    """How a table is partitioned: by time if `integers` is missing. `kind` is GoogleSQL's word for the column's type.
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
        """Returns SQL for the name of the partition in which a value lies. The name is the partition's beginning; for
        integer ranges it is its number, where -1 is below all of them and `partitions` above. NULL names the partition
        of NULLs."""
        if self.integers is None:
            return f"{self.kind}_TRUNC({value}, {self.granularity})"
        within = self.integers
        # The parentheses are for the emulator, which makes `a - b // c` of DIV(a - b, c).
        return (
            f"CASE WHEN {value} < {within.start} THEN -1 WHEN {value} >= {within.end} THEN {within.partitions} "
            f"ELSE DIV(({value} - {within.start}), {within.interval}) END"
        )

    def scan_condition(self, names: Iterable[PartitionName], column: str) -> str | None:
        """Returns a condition that is true in all partitions of these names, for pruning only; None without names.

        Neighbours are one range. If there are more than `MOST_SPANS` ranges, the nearest are merged, so the condition
        may be true in other partitions, too: a MERGE that scans more has the same result. Never use it for a DELETE.
        """
        known = set(names)
        return self._any_of(_widened(self._numbers(known)), None in known, column)

    def conditions(self, names: Iterable[PartitionName], column: str) -> list[str]:
        """Returns conditions that together are true in the partitions of these names and in no others, for statements
        that delete. Each has at most `MOST_SPANS` ranges and names at most `MOST_MODIFIED` partitions."""
        alternatives = []
        for group in self.grouped(names):
            spans = _spans(self._numbers(group))
            some = [spans[start : start + MOST_SPANS] for start in range(0, len(spans), MOST_SPANS)] or [[]]
            for number, group_spans in enumerate(some):
                condition = self._any_of(group_spans, number == 0 and None in group, column)
                if condition is not None:
                    alternatives.append(condition)
        return alternatives

    def among(self, names: Iterable[PartitionName], column: str) -> str:
        """Returns the condition that the column lies in one of the partitions of these names, by a list of any length.
        It is exact, but prunes nothing. It is for staging, which has no partitions."""
        known = set(names)
        numbers = self._numbers(known)
        literals = numbers if self.integers is not None else [self._begin(number) for number in numbers]
        arms = [f"{self.name_of(column)} IN ({', '.join(map(str, literals))})"] if literals else []
        if None in known:
            arms.append(f"{column} IS NULL")
        return " OR ".join(arms) or "FALSE"

    def grouped(self, names: Iterable[PartitionName]) -> list[list[PartitionName]]:
        """Returns the names in order, in groups that one statement may modify."""
        known = set(names)
        some = sorted((name for name in known if name is not None), key=self.number_of)
        ordered: list[PartitionName] = [*([None] if None in known else []), *some]
        return [ordered[start : start + MOST_MODIFIED] for start in range(0, len(ordered), MOST_MODIFIED)]

    def first_kept(self, now: datetime, expiration_days: int) -> datetime:
        """Returns where the oldest partition by time begins, in UTC, that has not expired. A partition expires so many
        days after it begins, with all its rows ("Manage partitioned tables" in BigQuery's documentation, Set the
        partition expiration)."""
        expired = (now.astimezone(UTC) - timedelta(days=expiration_days)).replace(tzinfo=None)
        return self.moment(self.number_of(expired) + 1)

    def before(self, moment: datetime, column: str) -> str:
        """Returns the condition that the column lies before the beginning of a partition by time."""
        return f"{column} < {self._begin(self.number_of(moment))}"

    def _numbers(self, names: Iterable[PartitionName]) -> list[int]:
        return sorted({self.number_of(name) for name in names if name is not None})

    def _any_of(self, spans: Sequence[tuple[int, int]], with_null: bool, column: str) -> str | None:
        arms = []
        for first, last in spans:
            bounds = [
                f"{column} {sign} {bound}"
                for sign, bound in ((">=", self._begin(first)), ("<", self._begin(last + 1)))
                if bound is not None
            ]
            arms.append(f"({' AND '.join(bounds) or f'{column} IS NOT NULL'})")
        if with_null:
            arms.append(f"{column} IS NULL")
        return " OR ".join(arms) if arms else None

    def number_of(self, name: date | int) -> int:
        """Returns the number of the partition of this name. Consecutive partitions have consecutive numbers."""
        if isinstance(name, int):
            return name
        if self.granularity == "YEAR":
            return name.year
        if self.granularity == "MONTH":
            return name.year * 12 + name.month - 1
        day = name.toordinal()
        return day if self.granularity == "DAY" else day * 24 + (name.hour if isinstance(name, datetime) else 0)

    def label(self, number: int) -> str:
        """Returns this partition's name for people: `2026-11-20`, `2026-11`, or the integer with which it begins."""
        if self.integers is not None:
            begin = self._begin(number)
            return f"from {begin}" if begin is not None else f"outside {self}"
        forms = {"HOUR": "%Y-%m-%d %H:00", "DAY": "%Y-%m-%d", "MONTH": "%Y-%m", "YEAR": "%Y"}
        return self.moment(number).strftime(forms[self.granularity])

    def _begin(self, number: int) -> str | None:
        """Returns the literal a partition begins with; None for a number before the first partition or past the end."""
        if self.integers is not None:
            within = self.integers
            if number < 0 or number > within.partitions:
                return None
            return str(min(within.start + number * within.interval, within.end))
        try:
            moment = self.moment(number)
        except (OverflowError, ValueError):
            return None
        if self.kind == "TIMESTAMP":
            return f"TIMESTAMP '{moment.isoformat(sep=' ')}+00'"
        text = moment.isoformat(sep=" ") if self.granularity == "HOUR" else moment.date().isoformat()
        return f"{self.kind} '{text}'"

    def moment(self, number: int) -> datetime:
        """Returns when this partition begins. Raises `ValueError` or `OverflowError` outside the calendar."""
        if self.granularity == "YEAR":
            return datetime(number, 1, 1)
        if self.granularity == "MONTH":
            return datetime(number // 12, number % 12 + 1, 1)
        day, hour = (number, 0) if self.granularity == "DAY" else divmod(number, 24)
        return datetime.combine(date.fromordinal(day), time()) + timedelta(hours=hour)


def every_row(column: str) -> str:
    """Returns a condition that all rows meet and that names the partition column. A table with
    `require_partition_filter` needs one."""
    return f"({column} IS NULL OR {column} IS NOT NULL)"


def _spans(numbers: Sequence[int], closed: int = 1) -> list[tuple[int, int]]:
    """Returns sorted numbers as (first, last), with neighbours in one; `closed` is the widest step between
    neighbours."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number - spans[-1][1] <= closed:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def _widened(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Does the same as `_spans`, but closes the narrowest gaps, so that there are at most `MOST_SPANS` of them."""
    gaps = sorted((after - before for before, after in pairwise(numbers)), reverse=True)
    return _spans(numbers, max(1, gaps[MOST_SPANS - 1]) if len(gaps) >= MOST_SPANS else 1)
