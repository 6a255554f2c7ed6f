"""The fingerprint of rows on their way to BigQuery, computed from Arrow's rows. `connectors/bigquery/fingerprints.py`
has BigQuery compute the same from staging, and describes the canonical text.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.fingerprints import BILLIONTHS, DIGITS, MOST_IN_BILLIONTHS, NULL, SEPARATOR
from connectors.md5 import md5

THREADS = 2
WAITING_BYTES = 128 * 1024 * 1024
"""The most bytes that wait to be hashed: rows written sooner are hashed while BigQuery takes the file in."""
HASHED_ROWS = 20_000
HASHED_BYTES = 16 * 1024 * 1024
_DIGITS_OF_FIRST_8_BYTES = 16
HALF_BITS = 30
_PLAIN_SCALE = 6
"""Arrow writes a decimal with an exponent if its first digit comes after the sixth place behind the point."""


class TransportHash:
    """Takes rows in parts, in any order, and hashes a few of them while its caller reads and writes the next ones. The
    hashing is mostly Arrow's work, which does not hold Python's lock."""

    def __init__(self, columns: Sequence[WarehouseColumn]) -> None:
        """`columns` are those of the rows, in order."""
        self._kinds = [column.staged_type for column in columns]
        self._threads = ThreadPoolExecutor(THREADS, "transport-hash")
        self._hashing: deque[tuple[int, Future[int]]] = deque()
        self._waiting_bytes = 0
        self._total = 0

    def add(self, rows: pa.Table) -> None:
        # Even if the hashing is slow, the memory stays bounded.
        size = max(rows.nbytes, 1)
        self._wait(max(WAITING_BYTES - size, 0))
        self._waiting_bytes += size
        self._hashing.append((size, self._threads.submit(self._sum, rows)))

    def take(self, total: int) -> None:
        """Takes in rows that were hashed elsewhere."""
        self._total += total

    def total(self) -> int:
        """Returns the sum of the hashes of all rows so far."""
        self._wait(0)
        return self._total

    def _wait(self, most_bytes: int) -> None:
        """Waits until at most `most_bytes` wait to be hashed."""
        while self._waiting_bytes > most_bytes:
            size, hashing = self._hashing.popleft()
            self._total += hashing.result()
            self._waiting_bytes -= size

    def _sum(self, rows: pa.Table) -> int:
        # Small batches stay in the processor's cache, and the text of wide rows does not fill the memory.
        row_bytes = max(rows.nbytes // max(rows.num_rows, 1), 1)
        batches = rows.to_batches(max_chunksize=max(min(HASHED_BYTES // row_bytes, HASHED_ROWS), 1))
        return sum(_sum(row_hashes(batch, self._kinds)) for batch in batches if batch.num_rows)


def row_hashes(rows: pa.RecordBatch, kinds: Sequence[str]) -> pa.Array:
    """Returns the hash of each row, as unsigned 64-bit numbers.

    Args:
        kinds: GoogleSQL's word for the type of each column, in order.
    """
    texts = [text for values, kind in zip(rows.columns, kinds, strict=True) for text in _texts(values, kind)]
    return _hashes(_joined(*texts, SEPARATOR, null_handling="replace", null_replacement=NULL))


def halves(hashes: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Returns the upper and the lower `HALF_BITS` of hashes: the sum of whole hashes soon exceeds 64 bits."""
    lower = pc.bit_wise_and(hashes, _uint64((1 << HALF_BITS) - 1))
    return pc.shift_right(hashes, _uint64(HALF_BITS)), lower


def _hashes(texts: pa.Array) -> pa.Array:
    rows = texts.cast(pa.large_binary()).to_pylist()
    first_8_bytes = array("Q", b"".join([md5(row).digest() for row in rows]))[::2]
    if sys.byteorder == "little":
        first_8_bytes.byteswap()
    numbers = pa.Array.from_buffers(pa.uint64(), len(rows), [None, pa.py_buffer(first_8_bytes)])
    return pc.shift_right(numbers, _uint64(4 * (_DIGITS_OF_FIRST_8_BYTES - DIGITS)))


def _sum(hashes: pa.Array) -> int:
    above, below = halves(hashes)
    return (int(pc.sum(above).as_py()) << HALF_BITS) + int(pc.sum(below).as_py())


def _texts(values: pa.Array, kind: str) -> tuple[pa.Array, ...]:
    """Returns the canonical text of each value, in one or two columns; NULL stays NULL."""
    if kind == "STRING":
        return _wide(pc.binary_length(values)), _wide(values)
    return (_text(values, kind),)


def _text(values: pa.Array, kind: str) -> pa.Array:
    match kind:
        case "INT64" | "BOOL":
            return _wide(values)
        case "DATE":
            return _wide(values.cast(pa.int32()))
        case "DATETIME" | "TIMESTAMP":
            return _wide(values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64()))
        case "NUMERIC":
            return _numeric(values)
        case "BIGNUMERIC":
            return _decimal(values)
        case "FLOAT64":
            return _double(values)
        case "BYTES":
            return _hexadecimal(values.cast(pa.large_binary()))
    raise AssertionError(f"staging has no {kind}")


def _numeric(values: pa.Array) -> pa.Array:
    one = 10**values.type.scale
    units = _units(values)
    most = MOST_IN_BILLIONTHS * one
    if values.type.precision > len(str(most)) - 1:
        least, most = (pa.scalar(Decimal(bound), units.type) for bound in (-most, most))
        within = pc.and_(pc.greater_equal(units, least), pc.less_equal(units, most))
        units = pc.if_else(within, units, None)
    texts = _wide(pc.multiply(units.cast(pa.int64()), pa.scalar(BILLIONTHS // one, pa.int64())))
    return texts if texts.null_count == values.null_count else pc.coalesce(texts, _decimal(values))


def _decimal(values: pa.Array) -> pa.Array:
    scale = values.type.scale
    if 0 < scale <= _PLAIN_SCALE:
        return _wide(pc.ascii_rtrim(values.cast(pa.string()), "0"))
    digits = _units(values).cast(pa.string())
    if scale == 0:
        return _joined(_wide(digits), "", ".")
    sign = pc.if_else(pc.starts_with(digits, "-"), "-", "")
    padded = pc.ascii_lpad(pc.ascii_ltrim(digits, "-"), scale + 1, "0")
    before = pc.binary_join_element_wise(sign, pc.utf8_slice_codeunits(padded, 0, -scale), "")
    after = pc.ascii_rtrim(pc.utf8_slice_codeunits(padded, -scale), "0")
    return _joined(_wide(before), _wide(after), ".")


def _units(values: pa.Array) -> pa.Array:
    """Returns decimals without their point: the same bytes, read as whole numbers."""
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(values), values.buffers(), offset=values.offset)


def _double(values: pa.Array) -> pa.Array:
    # Rates and the like have few distinct numbers in many rows, and Python writes them one by one.
    encoded = values.cast(pa.float64()).dictionary_encode()
    texts = [f"{value:.16e}" if value else "0" for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.large_string()).take(encoded.indices)


def _hexadecimal(values: pa.LargeBinaryArray) -> pa.Array:
    """Returns two digits per byte, for all values at once."""
    _, offsets, data = values.buffers()
    ends = pa.Array.from_buffers(pa.int64(), len(values) + 1, [None, offsets], offset=values.offset)
    first, last = ends[0].as_py(), ends[-1].as_py()
    digits = memoryview(data)[first:last].hex().encode() if data is not None else b""
    doubled = pc.multiply(pc.subtract(ends, first), 2)
    texts = pa.Array.from_buffers(pa.large_string(), len(values), [None, doubled.buffers()[1], pa.py_buffer(digits)])
    return pc.if_else(values.is_valid(), texts, None)


def _joined(*values: pa.Array | str, null_handling: str = "emit_null", null_replacement: str = "") -> pa.Array:
    """Joins texts; the last argument is the separator."""
    typed = [pa.scalar(value, pa.large_string()) if isinstance(value, str) else value for value in values]
    return pc.binary_join_element_wise(*typed, null_handling=null_handling, null_replacement=null_replacement)


def _uint64(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.uint64())


def _wide(values: pa.Array) -> pa.Array:
    """Returns text with 64-bit offsets: a part of it may be larger than 2 GB."""
    return values.cast(pa.large_string())
