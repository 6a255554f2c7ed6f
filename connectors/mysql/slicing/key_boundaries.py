"""Boundaries of even slices of a whole table, found in its primary key's index.

The range of all keys is cut in the middle of its values. Then the piece with the most rows is cut, and so on, until
each piece is a fraction of a slice. Neighbouring pieces then form a slice. A cut looks at two rows, the last before it
and the first behind it, and estimates two pieces. So gaps vanish, and clusters are found in as many cuts as there are
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
PIECES_PER_SLICE = 8
_CUTS_PER_PIECE = 8
_FEWEST_CUTS = 512
"""Cuts allowed: per piece that is needed, and the least in total. Hopeless keys stop there, with uneven slices."""
_COUNTED_PIECES = 16
_EXACT = 0.02
_EXPLAINED_TWICE = 4
"""How many times off an optimizer's estimate may be. (InnoDB doubles what it has not counted to the end.)"""


@dataclass
class Piece:
    """All rows from one key to another, both in the table, and a link to the next piece."""

    first: Key
    last: Key
    rows: float
    following: Piece | None = None

    def and_following(self) -> Iterator[Piece]:
        piece: Piece | None = self
        while piece is not None:
            yield piece
            piece = piece.following


def find_boundaries(
    index: KeyIndex,
    spaces: list[KeySpace],
    rows: RowEstimate,
    rows_per_slice: int,
    finest_share: float = 0.0,
    *,
    doubted: bool = False,
) -> list[Key]:
    """Returns the first keys of all slices but the first, in the index's order.

    `finest_share` is the smallest part of the table that `rows` estimates well: no slice is smaller than two such
    parts. `doubted`: `rows` come from statistics, which may know only a part of the table, and the caller has another
    way without them.

    Raises:
        NoEstimate: `rows` has no estimate for a range that was to be cut. If `doubted`, also if a range holds far more
            rows than estimated.
    """
    ends = index.ends()
    if ends is None:
        return []
    pieces = list(_Cutter(index, spaces, rows, rows_per_slice, finest_share).cut(*ends).and_following())
    _correct(index, pieces, doubted=doubted)
    total = sum(piece.rows for piece in pieces)
    most = min(MAX_SLICES, int(1 / finest_share / 2)) if finest_share else MAX_SLICES
    slices = min(max(ceil(total / rows_per_slice), 2), most)
    boundaries: list[Key] = []
    before = 0.0
    for piece in pieces:
        target = total / slices * (len(boundaries) + 1)
        # Cut before this piece if that edge is nearer to the target than the edge behind it.
        if boundaries[-1:] != [piece.first] and piece is not pieces[0] and before + piece.rows / 2 >= target:
            boundaries.append(piece.first)
        before += piece.rows
    return index.ordered(boundaries)


class _Cutter:
    """Cuts pieces until none is larger than a fraction of a slice."""

    def __init__(
        self, index: KeyIndex, spaces: list[KeySpace], rows: RowEstimate, rows_per_slice: int, finest_share: float
    ) -> None:
        self._finest_share = finest_share
        self._index = index
        self._spaces = spaces
        self._rows = rows
        self._rows_per_slice = rows_per_slice

    def cut(self, first: Key, last: Key) -> Piece:
        """Returns the first of the linked pieces that together hold all rows from `first` to `last`."""
        head = self._piece(first, last)
        numbers = count()
        largest = [(-head.rows, next(numbers), head)]
        total = head.rows
        for cuts in count():
            slices = min(max(total / self._rows_per_slice, 1), MAX_SLICES)
            grain = max(total / slices / PIECES_PER_SLICE, total * self._finest_share, 1)
            most_cuts = _FEWEST_CUTS + slices * PIECES_PER_SLICE * _CUTS_PER_PIECE
            if not largest or -largest[0][0] <= grain or cuts > most_cuts:
                break
            _, _, piece = heapq.heappop(largest)
            before = piece.rows
            if self._halve(piece) and piece.following is not None:
                total += piece.rows + piece.following.rows - before
                for half in (piece, piece.following):
                    heapq.heappush(largest, (-half.rows, next(numbers), half))
        return head

    def _piece(self, first: Key, last: Key) -> Piece:
        for key in (first, last):
            learn_all(self._spaces, key)
        return Piece(first, last, self._rows(first, last) if first != last else 1.0)

    def _halve(self, piece: Piece) -> bool:
        """Keeps the lower half in `piece` and links the upper half behind it; False if the piece cannot be cut."""
        columns = self._index.columns
        first, last = piece.first, piece.last
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
                    lower = self._piece(first, (*same, *end[0][place:]))
                    upper = self._piece((*same, *start[0][place:]), last)
                    piece.last, piece.rows = lower.last, lower.rows
                    upper.following, piece.following = piece.following, upper
                    return True
            # The column's collation takes the two texts for equal.
            last = (*last[:place], first[place], *last[place + 1 :])
        return False


def _correct(index: KeyIndex, pieces: list[Piece], *, doubted: bool) -> None:
    """Counts one piece of each stretch of neighbours, and corrects the estimates by the counts.

    InnoDB's estimates are exact up to ten pages and about twice too high above that. Both cases may occur in one table:
    one where rows are narrow, the other where they are wide. An estimate that was exact counts as exact for its whole
    stretch.

    Statistics may know only a part of the table: TiDB's ANALYZE skips rows whose commit has not reached them yet, and
    reports no changed rows since. A part that they do not know seems to hold next to no rows. So if the statistics are
    doubted, the smallest piece of each stretch is counted, too.

    Raises:
        NoEstimate: the estimates are doubted, and a piece holds more rows than any may.
    """
    total = sum(piece.rows for piece in pieces)
    stretches: dict[int, list[Piece]] = {}
    before = 0.0
    for piece in pieces:
        stretches.setdefault(int(before / total * _COUNTED_PIECES), []).append(piece)
        before += piece.rows
    most = ceil(max(piece.rows for piece in pieces) * _EXPLAINED_TWICE) + 1
    counted = estimated = 0.0
    inexact: list[Piece] = []
    for stretch in stretches.values():
        ascending = sorted(stretch, key=lambda piece: piece.rows)
        least, middling = ascending[0], ascending[len(stretch) // 2]
        found = _counted(index, middling, most)
        if doubted and (found >= most or (least is not middling and _counted(index, least, most) >= most)):
            raise NoEstimate
        if abs(found / middling.rows - 1) > _EXACT:
            inexact += stretch
            counted += found
            estimated += middling.rows
    for piece in inexact:
        piece.rows *= counted / estimated


def _counted(index: KeyIndex, piece: Piece, most: int) -> int:
    return max(index.counted(at_least(piece.first), Bound(piece.last, inclusive=True), most), 1)
