"""A block of rows taken apart into its columns: where each value begins, how long it is, which are NULL.

A value is a length-encoded string, NULL the single byte 0xFB (MySQL's Source Code Documentation, "Text Resultset Row"
and "Protocol::LengthEncodedInteger"). Columns are taken one after the other, each for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.mysql.wire import Block, Bytes, Positions, ProtocolError

_NULL = 0xFB
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""First byte of a longer value → the bytes of its length."""
_FOREIGN = "a row does not hold what the columns say"


@dataclass(frozen=True)
class Field:
    """One column of a block. `nulls` is None where no value is NULL; a NULL has no length."""

    data: Bytes
    starts: Positions
    lengths: Positions
    nulls: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.starts)

    def validity(self) -> pa.Buffer | None:
        """Arrow's bitmap."""
        return None if self.nulls is None else pa.py_buffer(np.packbits(~self.nulls, bitorder="little").tobytes())

    def to_arrow(self) -> pa.Array:
        """The bytes, copied: an array of `binary`."""
        rows = len(self)
        if not rows:
            return pa.array([], pa.binary())
        width = int(self.lengths[0])
        if self.nulls is None and 0 < width <= 32 and bool((self.lengths == width).all()):
            return self._of_one_width(width)
        # Values at even places, what lies between them at odd ones; `take` then copies the values together.
        offsets = np.empty((rows, 2), dtype=np.int32)
        offsets[:, 0] = self.starts
        offsets[:, 1] = self.starts + self.lengths
        spans = pa.Array.from_buffers(pa.binary(), 2 * rows - 1, [None, pa.py_buffer(offsets), pa.py_buffer(self.data)])
        even = pa.py_buffer(np.arange(0, 2 * rows, 2, dtype=np.int32))
        places = pa.Array.from_buffers(pa.int32(), rows, [self.validity(), even])
        return pc.take(spans, places, boundscheck=False)

    def _of_one_width(self, width: int) -> pa.Array:
        places = np.ndarray(len(self.data) - width + 1, f"V{width}", self.data, strides=(1,))
        offsets = np.arange(0, (len(self) + 1) * width, width, dtype=np.int32)
        return pa.Array.from_buffers(
            pa.binary(), len(self), [None, pa.py_buffer(offsets), pa.py_buffer(places[self.starts])]
        )


def fields_of(block: Block, columns: int) -> Iterator[Field]:
    """The columns of a block, in order.

    Raises:
        ProtocolError: a row is not of so many values.
    """
    at = block.starts
    try:
        for _ in range(columns):
            field = _field(block.data, at)
            yield field
            at = field.starts + field.lengths
    except IndexError:
        raise ProtocolError(_FOREIGN) from None
    # Lengths are never negative, so where the last value ends with its row no other went beyond it.
    if not np.array_equal(at, block.ends):
        raise ProtocolError(_FOREIGN)


def _field(data: Bytes, at: Positions) -> Field:
    first = data[at]
    lengths = first.astype(np.int64)
    if not len(first) or int(first.max()) < _NULL:
        return Field(data, at + 1, lengths, None)
    starts = at + 1
    nulls = first == _NULL
    lengths[nulls] = 0
    for mark, width in _LENGTHS.items():
        longer = np.flatnonzero(first == mark)
        if len(longer):
            digits = data[at[longer, np.newaxis] + np.arange(1, width + 1)].astype(np.uint64)
            sizes = (digits << (np.arange(width, dtype=np.uint64) * np.uint64(8))).sum(axis=1, dtype=np.uint64)
            if int(sizes.max()) > len(data):
                raise ProtocolError(_FOREIGN)
            lengths[longer] = sizes
            starts[longer] += width
    if int(first.max()) > 0xFE:
        raise ProtocolError(_FOREIGN)
    return Field(data, starts, lengths, nulls if nulls.any() else None)
