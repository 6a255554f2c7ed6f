"""Estimates how many rows lie between two keys without counting them, in two ways.

The first way is the optimizer. `EXPLAIN` makes InnoDB look into the index at both ends of a range and count the pages
between (MySQL manual, Equality Range Optimization), and makes TiDB ask its histograms. If there is no estimate to
trust, the second way measures the density of the keys at both ends of a range and assumes it for the middle. Ranges are
then halved until the assumption holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from connectors.mysql.slicing.key_index import KeyIndex
from connectors.mysql.slicing.key_interpolation import KeySpace
from connectors.mysql.slicing.key_ranges import Bound, Key, at_least, range_condition

NEIGHBOURS = 64
"""Rows looked at at each end of a range, to measure how dense its keys are."""
_MOST = 1e15


class NoEstimate(LookupError):
    """The optimizer has no estimate to trust, though it had one for another range of the table."""


class RowEstimate(Protocol):
    """Estimates the rows from one key to another, both in the table and both included.

    Raises:
        NoEstimate: they cannot be estimated this way.
    """

    def __call__(self, first: Key, last: Key) -> float: ...


class ExplainedRows:
    """The optimizer's estimate; `estimate_rows` gives it for a SELECT."""

    def __init__(self, index: KeyIndex, estimate_rows: Callable[[str], float | None]) -> None:
        self._index = index
        self._estimate_rows = estimate_rows

    def __call__(self, first: Key, last: Key) -> float:
        explained = self._estimate_rows(self._index.range_query(at_least(first), _through(last)))
        if explained is None:
            raise NoEstimate
        return max(explained, 1.0)


class MeasuredRows:
    """An estimate from the distances between neighbouring keys; exact up to `NEIGHBOURS` rows.

    It is for keys of one column. With several columns, neighbouring rows do not show how many others share the values
    of the first column.
    """

    def __init__(self, index: KeyIndex, space: KeySpace) -> None:
        self._index = index
        self._space = space

    def __call__(self, first: Key, last: Key) -> float:
        condition = range_condition(self._index.columns, at_least(first), _through(last))
        ahead = self._neighbours(condition, descending=False)
        if len(ahead) <= NEIGHBOURS:
            return float(max(len(ahead), 1))
        behind = self._neighbours(condition, descending=True)
        return min((self._from(first, last, ahead) + self._from(last, first, behind)) / 2, _MOST)

    def _neighbours(self, condition: str, *, descending: bool) -> list[Key]:
        keys = self._index.rows(condition, NEIGHBOURS + 1, descending=descending)
        for key in keys:
            self._space.learn(key[0])
        return keys

    def _from(self, start: Key, end: Key, keys: list[Key]) -> float:
        """Estimates the rows from `start` to `end`, by the keys next to `start`."""
        covered = float(self._space.share(start[0], keys[-1][0], end[0]))
        return NEIGHBOURS / covered if covered else _MOST


def _through(key: Key) -> Bound:
    return Bound(key, inclusive=True)
