"""Boundaries of even slices of a whole table, found in its primary key's index.

The range of all keys is cut in the middle of its values. Then the range with the most rows is cut, and so on, until
each range is a fraction of a slice. Neighbouring ranges then form a slice. A cut looks at two rows, the last before it
and the first behind it, and estimates two ranges. So gaps vanish, and clusters are found in as many cuts as there are
bits in their distance, however many rows they hold.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil

from connectors.mysql.slicing.key_index import KeyIndex
from connectors.mysql.slicing.key_interpolation import KeySpace, learn_all
from connectors.mysql.slicing.key_ranges import Bound, Key, at_least
from connectors.mysql.slicing.row_estimates import NoEstimate, RowEstimate

MAX_SLICES = 512
"""The limit for tables of any size: each slice is a statement, and people read the plan."""
RANGES_PER_SLICE = 8
_CUTS_PER_RANGE = 8
_FEWEST_CUTS = 512
"""Cuts allowed: per range that is needed, and the least in total. Hopeless keys stop there, with uneven slices."""
_COUNTED_RANGES = 16
_EXACT = 0.02
_EXPLAINED_TWICE = 4
"""How many times off an optimizer's estimate may be. (InnoDB doubles what it has not counted to the end.)"""


@dataclass
class KeyRange:
    """All rows from one key to another, both in the table, and a link to the next range."""

    first: Key
    last: Key
    rows: float
    following: KeyRange | None = None

    def and_following(self) -> Iterator[KeyRange]:
        key_range: KeyRange | None = self
        while key_range is not None:
            yield key_range
            key_range = key_range.following


def find_boundaries(
    index: KeyIndex,
    spaces: list[KeySpace],
    rows: RowEstimate,
    rows_per_slice: int,
    estimate_resolution: float = 0.0,
    *,
    doubted: bool = False,
) -> list[Key]:
    """Returns the first keys of all slices but the first, in the index's order.

    `estimate_resolution` is the smallest part of the table that `rows` estimates well: no slice is smaller than two
    such parts. `doubted`: `rows` come from statistics, which may know only a part of the table, and the caller has
    another way without them.

    Raises:
        NoEstimate: `rows` has no estimate for a range that was to be cut. If `doubted`, also if a range holds far more
            rows than estimated.
    """
    ends = index.ends()
    if ends is None:
        return []
    ranges = list(_Cutter(index, spaces, rows, rows_per_slice, estimate_resolution).cut(*ends).and_following())
    _correct(index, ranges, doubted=doubted)
    total = sum(key_range.rows for key_range in ranges)
    most = min(MAX_SLICES, int(1 / estimate_resolution / 2)) if estimate_resolution else MAX_SLICES
    slices = min(max(ceil(total / rows_per_slice), 2), most)
    boundaries: list[Key] = []
    before = 0.0
    for key_range in ranges:
        target = total / slices * (len(boundaries) + 1)
        # Cut before this range if that edge is nearer to the target than the edge behind it.
        if (
            boundaries[-1:] != [key_range.first]
            and key_range is not ranges[0]
            and before + key_range.rows / 2 >= target
        ):
            boundaries.append(key_range.first)
        before += key_range.rows
    return index.sort(boundaries)


class _Cutter:
    """Cuts ranges until none is larger than a fraction of a slice."""

    def __init__(
        self,
        index: KeyIndex,
        spaces: list[KeySpace],
        rows: RowEstimate,
        rows_per_slice: int,
        estimate_resolution: float,
    ) -> None:
        self._estimate_resolution = estimate_resolution
        self._index = index
        self._spaces = spaces
        self._rows = rows
        self._rows_per_slice = rows_per_slice

    def cut(self, first: Key, last: Key) -> KeyRange:
        """Returns the first of the linked ranges that together hold all rows from `first` to `last`."""
        head = self._key_range(first, last)
        numbers = count()
        largest = [(-head.rows, next(numbers), head)]
        total = head.rows
        for cuts in count():
            slices = min(max(total / self._rows_per_slice, 1), MAX_SLICES)
            grain = max(total / slices / RANGES_PER_SLICE, total * self._estimate_resolution, 1)
            most_cuts = _FEWEST_CUTS + slices * RANGES_PER_SLICE * _CUTS_PER_RANGE
            if not largest or -largest[0][0] <= grain or cuts > most_cuts:
                break
            _, _, key_range = heapq.heappop(largest)
            before = key_range.rows
            if self._halve(key_range) and key_range.following is not None:
                total += key_range.rows + key_range.following.rows - before
                for half in (key_range, key_range.following):
                    heapq.heappush(largest, (-half.rows, next(numbers), half))
        return head

    def _key_range(self, first: Key, last: Key) -> KeyRange:
        for key in (first, last):
            learn_all(self._spaces, key)
        return KeyRange(first, last, self._rows(first, last) if first != last else 1.0)

    def _halve(self, key_range: KeyRange) -> bool:
        """Keeps the lower half in `key_range` and links the upper half behind it; False if the range cannot be cut."""
        columns = self._index.columns
        first, last = key_range.first, key_range.last
        for place, column in enumerate(columns):
            if first[place] == last[place]:
                continue
            fixed = [known.compare("=", text) for known, text in zip(columns[:place], first, strict=False)]
            from_first, to_last = column.compare(">=", first[place]), column.compare("<=", last[place])
            for middle in self._spaces[place].cuts(first[place], last[place]):
                above = [*fixed, column.compare(">=", middle), to_last]
                under = [*fixed, from_first, column.compare("<", middle)]
                start = self._index.rows(" AND ".join(above), 1)
                end = self._index.rows(" AND ".join(under), 1, descending=True)
                if start and end:
                    # Give equal values one text, so that ranges between these keys do not overlap.
                    same = first[:place]
                    lower = self._key_range(first, (*same, *end[0][place:]))
                    upper = self._key_range((*same, *start[0][place:]), last)
                    key_range.last, key_range.rows = lower.last, lower.rows
                    upper.following, key_range.following = key_range.following, upper
                    return True
            # The column's collation takes the two texts for equal.
            last = (*last[:place], first[place], *last[place + 1 :])
        return False


def _correct(index: KeyIndex, ranges: list[KeyRange], *, doubted: bool) -> None:
    """Counts one range of each stretch of neighbours, and corrects the estimates by the counts.

    InnoDB's estimates are exact up to ten pages and about twice too high above that. Both cases may occur in one table:
    one where rows are narrow, the other where they are wide. An estimate that was exact counts as exact for its whole
    stretch.

    Statistics may know only a part of the table: TiDB's ANALYZE skips rows whose commit has not reached them yet, and
    reports no changed rows since. A part that they do not know seems to hold next to no rows. So if the statistics are
    doubted, the smallest range of each stretch is counted, too.

    Raises:
        NoEstimate: the estimates are doubted, and a range has more rows than any may have.
    """
    total = sum(key_range.rows for key_range in ranges)
    stretches: dict[int, list[KeyRange]] = {}
    before = 0.0
    for key_range in ranges:
        stretches.setdefault(int(before / total * _COUNTED_RANGES), []).append(key_range)
        before += key_range.rows
    most = ceil(max(key_range.rows for key_range in ranges) * _EXPLAINED_TWICE) + 1
    counted = estimated = 0.0
    inexact: list[KeyRange] = []
    for stretch in stretches.values():
        ascending = sorted(stretch, key=lambda key_range: key_range.rows)
        least, middling = ascending[0], ascending[len(stretch) // 2]
        exact_rows = _counted(index, middling, most)
        if doubted and (exact_rows >= most or (least is not middling and _counted(index, least, most) >= most)):
            raise NoEstimate
        if abs(exact_rows / middling.rows - 1) > _EXACT:
            inexact += stretch
            counted += exact_rows
            estimated += middling.rows
    for key_range in inexact:
        key_range.rows *= counted / estimated


def _counted(key_index: KeyIndex, key_range: KeyRange, most: int) -> int:
    return max(key_index.count(at_least(key_range.first), Bound(key_range.last, inclusive=True), most), 1)
