"""Splits a block of rows of the binary protocol into its columns, each for all rows at once.

A row is a zero byte, a bitmap of the NULLs, then the other values in order. Numbers have as many bytes as their type,
the least significant first. Dates follow the length of their bytes, without zero parts at the end. All else is a
length-encoded string, with decimals as text (MySQL's Source Code Documentation, "Binary Protocol Resultset Row",
"Binary Protocol Value" and "Protocol::LengthEncodedInteger").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pymysql.constants import FIELD_TYPE

from connectors.mysql.wire.packets import Block, Bytes, Positions, ProtocolError, WireColumn

Flags = npt.NDArray[np.bool_]

_NUMBERS = {
    FIELD_TYPE.TINY: ("<i1", "<u1"),
    FIELD_TYPE.SHORT: ("<i2", "<u2"),
    FIELD_TYPE.YEAR: ("<i2", "<u2"),
    FIELD_TYPE.INT24: ("<i4", "<u4"),
    FIELD_TYPE.LONG: ("<i4", "<u4"),
    FIELD_TYPE.LONGLONG: ("<i8", "<u8"),
    FIELD_TYPE.FLOAT: ("<f4", "<f4"),
    FIELD_TYPE.DOUBLE: ("<f8", "<f8"),
}
"""Signed and unsigned."""
_ARROW_NUMBERS = {
    np.dtype(word): kind
    for word, kind in {
        "<i1": pa.int8(),
        "<u1": pa.uint8(),
        "<i2": pa.int16(),
        "<u2": pa.uint16(),
        "<i4": pa.int32(),
        "<u4": pa.uint32(),
        "<i8": pa.int64(),
        "<u8": pa.uint64(),
        "<f4": pa.float32(),
        "<f8": pa.float64(),
    }.items()
}
UNASKED = {FIELD_TYPE.TIME, FIELD_TYPE.NULL}
"""Types for which none of our statements asks."""
_MOMENTS = {FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP}
_MOMENT = np.dtype(
    {
        "names": ["size", "year", "month", "day", "hour", "minute", "second", "micros"],
        "formats": ["u1", "<u2", "u1", "u1", "u1", "u1", "u1", "<u4"],
    }
)
_IS_MOMENT_SIZE = np.isin(np.arange(256), (0, 4, 7, 11))
_NULLS_BEFORE = 2
"""Bits of a row's bitmap before the bit of its first column."""
_LONGEST_SHORT = 0xFA
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""First byte of a longer value → the number of bytes of its length."""
_NO_LENGTHS = (0xFB, 0xFF)
"""First bytes that no value has: a NULL of the text protocol, an error."""
_FOREIGN = "a row does not match its columns' types"


@dataclass(frozen=True)
class Texts:
    """A column of strings. `nulls` is missing (None) if no value is NULL; a NULL has no length."""

    data: Bytes
    starts: Positions
    lengths: Positions
    nulls: Flags | None

    def __len__(self) -> int:
        return len(self.starts)

    def to_arrow(self) -> pa.Array:
        """Returns the bytes, copied: an array of `binary`."""
        rows = len(self)
        if not rows:
            return pa.array([], pa.binary())
        width = int(self.lengths[0])
        if self.nulls is None and 0 < width <= 32 and bool((self.lengths == width).all()):
            return self._of_one_width(width)
        # Values at even places, the bytes between them at odd ones; `take` then copies the values together.
        offsets = np.empty((rows, 2), dtype=np.int32)
        offsets[:, 0] = self.starts
        offsets[:, 1] = self.starts + self.lengths
        spans = pa.Array.from_buffers(pa.binary(), 2 * rows - 1, [None, pa.py_buffer(offsets), pa.py_buffer(self.data)])
        even = pa.py_buffer(np.arange(0, 2 * rows, 2, dtype=np.int32))
        places = pa.Array.from_buffers(pa.int32(), rows, [bitmap(self.nulls), even])
        return pc.take(spans, places, boundscheck=False)

    def _of_one_width(self, width: int) -> pa.Array:
        values = _at(self.data, self.starts, np.dtype(f"V{width}"))
        offsets = np.arange(0, (len(values) + 1) * width, width, dtype=np.int32)
        return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(values)])

    def value(self, row: int) -> bytes:
        """Returns one value's bytes."""
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes()


@dataclass(frozen=True)
class Numbers:
    """A column of numbers; the number in place of a NULL has no meaning."""

    values: npt.NDArray[Any]
    nulls: Flags | None

    def __len__(self) -> int:
        return len(self.values)

    def to_arrow(self) -> pa.Array:
        """Returns an array of Arrow's type of the same size, which shares the numbers' memory."""
        kind = _ARROW_NUMBERS[self.values.dtype]
        return pa.Array.from_buffers(kind, len(self), [bitmap(self.nulls), pa.py_buffer(self.values)])

    def value(self, row: int) -> int | float:
        """Returns one number."""
        number: int | float = self.values[row].item()
        return number


@dataclass(frozen=True)
class Moments:
    """A column of dates or of dates with times, of any calendar: `parts` have the fields `year`, `month`, `day`,
    `hour`, `minute`, `second` and `micros`. The parts in place of a NULL have no meaning."""

    parts: npt.NDArray[Any]
    nulls: Flags | None

    def __len__(self) -> int:
        return len(self.parts)

    def value(self, row: int, fraction: int | None) -> str:
        """Returns one value as the server writes it, with `fraction` digits of a second; None for a date."""
        _, year, month, day, hour, minute, second, micros = self.parts[row].item()
        text = f"{year:04}-{month:02}-{day:02}"
        if fraction is not None:
            text += f" {hour:02}:{minute:02}:{second:02}"
        return f"{text}.{micros:06}"[: len(text) + 1 + fraction] if fraction else text


Field = Texts | Numbers | Moments


def fields_of(block: Block, columns: Sequence[WireColumn]) -> Iterator[Field]:
    """Yields the columns of a block, in order.

    Raises:
        ProtocolError: a row is not of these columns, or one of these is `UNASKED`.
    """
    data, null_bits = block.data, block.starts + 1
    at = null_bits + (len(columns) + 7 + _NULLS_BEFORE) // 8
    flags: npt.NDArray[np.uint8] | None = None
    try:
        for bit, column in enumerate(columns, _NULLS_BEFORE):
            if flags is None or not bit % 8:
                flags = data[null_bits + bit // 8]
                any_null = int(np.bitwise_or.reduce(flags)) if len(flags) else 0
            nulls = (flags & np.uint8(1 << bit % 8)).astype(np.bool_) if any_null >> bit % 8 & 1 else None
            field, at = _field(data, at, column, nulls)
            yield field
    except IndexError:
        raise ProtocolError(_FOREIGN) from None
    # Lengths are never negative. So if the last value ends with its row, no other value went beyond it.
    if not np.array_equal(at, block.ends):
        raise ProtocolError(_FOREIGN)


def _field(data: Bytes, at: Positions, column: WireColumn, nulls: Flags | None) -> tuple[Field, Positions]:
    """Returns a column whose values begin at these places, and where the next column's begin."""
    if column.type_code in _NUMBERS:
        kind = np.dtype(_NUMBERS[column.type_code][column.is_unsigned])
        return Numbers(_at(data, at, kind), nulls), at + (kind.itemsize if nulls is None else kind.itemsize * ~nulls)
    if column.type_code in _MOMENTS:
        return _moments(data, at, nulls)
    if column.type_code in UNASKED:
        raise ProtocolError(
            f"the server sends a value of type {column.type_code}, which no column of the statement has"
        )
    return _texts(data, at, nulls)


def _at(data: Bytes, at: Positions, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns values of one size, copied from any places."""
    size = kind.itemsize
    places = np.ndarray(len(data) - size + 1, f"V{size}", data, strides=(1,))
    return places[at].view(kind)


def _moments(data: Bytes, at: Positions, nulls: Flags | None) -> tuple[Moments, Positions]:
    parts = _at(data, at, _MOMENT)
    sizes = parts["size"].astype(np.int64)
    if nulls is not None:
        sizes[nulls] = 0
    if not _IS_MOMENT_SIZE[sizes].all():
        raise ProtocolError(_FOREIGN)
    after = at + sizes + 1
    if nulls is not None:
        after = after - nulls
    # The parts that are left out are zero.
    for size, names in ((11, ("micros",)), (7, ("hour", "minute", "second")), (4, ("year", "month", "day"))):
        short = sizes < size
        if not short.any():
            break
        for name in names:
            parts[name][short] = 0
    return Moments(parts, nulls), after


def _texts(data: Bytes, at: Positions, nulls: Flags | None) -> tuple[Texts, Positions]:
    first = data[at]
    starts, lengths = at + 1, first.astype(np.int64)
    if nulls is not None:
        # The byte at this place belongs to another value.
        first[nulls] = 0
        lengths[nulls] = 0
        starts = starts - nulls
    if len(first) and int(first.max()) > _LONGEST_SHORT:
        for mark, width in _LENGTHS.items():
            longer = np.flatnonzero(first == mark)
            if len(longer):
                digits = data[at[longer, np.newaxis] + np.arange(1, width + 1)].astype(np.uint64)
                sizes = (digits << (np.arange(width, dtype=np.uint64) * np.uint64(8))).sum(axis=1, dtype=np.uint64)
                if int(sizes.max()) > len(data):
                    raise ProtocolError(_FOREIGN)
                lengths[longer] = sizes
                starts[longer] += width
        if np.isin(first, _NO_LENGTHS).any():
            raise ProtocolError(_FOREIGN)
    return Texts(data, starts, lengths, nulls), starts + lengths


def bitmap(nulls: Flags | None) -> pa.Buffer | None:
    """Returns Arrow's bitmap of the values that are not NULL; None if no value is NULL."""
    return None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little").tobytes())
