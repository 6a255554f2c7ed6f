"""How many rows lie between two keys, without counting them: two ways.

The optimizer's: `EXPLAIN` makes InnoDB dive into the index at both ends of a range and count the pages
between (MySQL manual, Equality Range Optimization), and makes TiDB ask its histograms. Where there is
none to trust, the density of the keys is measured at both ends of a range and taken for its middle;
ranges are then halved until that is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from connectors.mysql.key_index import KeyIndex
from connectors.mysql.key_ranges import Bound, Key, at_least, range_condition
from connectors.mysql.key_space import KeySpace, learn_all

NEIGHBOURS = 64
"""Rows looked at on each end of a range to measure how dense its keys are."""
_MOST = 1e15


class RowEstimate(Protocol):
    """Rows from one key to another, both in the table and both included."""

    def __call__(self, first: Key, last: Key) -> float: ...


class ExplainedRows:
    """The optimizer's estimate. `explain` gives it for a SELECT, None where it has none."""

    def __init__(self, index: KeyIndex, explain: Callable[[str], float | None], otherwise: RowEstimate) -> None:
        self._index = index
        self._explain = explain
        self._otherwise = otherwise

    def __call__(self, first: Key, last: Key) -> float:
        found = self._explain(self._index.range_query(at_least(first), _through(last)))
        return self._otherwise(first, last) if found is None else max(found, 1.0)


class MeasuredRows:
    """An estimate from the distances between neighbouring keys; exact up to `NEIGHBOURS` rows."""

    def __init__(self, index: KeyIndex, spaces: list[KeySpace]) -> None:
        self._index = index
        self._spaces = spaces

    def __call__(self, first: Key, last: Key) -> float:
        condition = range_condition(self._index.columns, at_least(first), _through(last))
        ahead = self._neighbours(condition, descending=False)
        if len(ahead) <= NEIGHBOURS:
            return float(max(len(ahead), 1))
        behind = self._neighbours(condition, descending=True)
        place = next((n for n, (one, two) in enumerate(zip(first, last, strict=True)) if one != two), 0)
        rows = self._from(first, last, ahead, place, descending=False)
        rows += self._from(last, first, behind, place, descending=True)
        return min(rows / 2, _MOST)

    def _neighbours(self, condition: str, *, descending: bool) -> list[Key]:
        keys = self._index.rows(condition, NEIGHBOURS + 1, descending=descending)
        for key in keys:
            learn_all(self._spaces, key)
        return keys

    def _from(self, start: Key, end: Key, keys: list[Key], place: int, *, descending: bool) -> float:
        """The rows from `start` to `end`, by the keys next to `start`. `place`: the first column that differs."""
        covered = self._share(place, start[place], keys[-1][place], end[place])
        if keys[-1][place] != start[place]:
            return NEIGHBOURS / covered if covered else _MOST
        if place + 1 == len(start):
            return _MOST
        # All share one value of this column: rows of such a value, times values up to the end.
        columns = self._index.columns
        same = Bound(start[: place + 1], inclusive=True)
        condition = range_condition(columns, same, same)
        edges = [self._index.rows(condition, 1, descending=way) for way in (False, True)]
        if not all(edges):
            return _MOST
        group = self(edges[0][0], (*start[: place + 1], *edges[1][0][place + 1 :]))
        fixed = [column.compare("=", text) for column, text in zip(columns, start, strict=False)][:place]
        beyond = columns[place].compare("<" if descending else ">", start[place])
        following = self._index.rows(" AND ".join([*fixed, beyond]), 1, descending=descending)
        step = self._share(place, start[place], following[0][place], end[place]) if following else 1.0
        return group / step if step else _MOST

    def _share(self, place: int, start: str, value: str, end: str) -> float:
        return float(self._spaces[place].share(start, value, end))


def _through(key: Key) -> Bound:
    return Bound(key, inclusive=True)
