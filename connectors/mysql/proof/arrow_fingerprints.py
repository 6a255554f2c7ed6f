"""Fingerprints of decoded rows, computed in Arrow: the canonical text of `fingerprints`, whole columns at a time.

The text is made from the decoded values, never from the text that arrived, since it is the decoding that is proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, FingerprintOf
from connectors.mysql.proof.fingerprints import DOWN_26, NULL, SHIFT, SPAN, UP_78
from connectors.mysql.schema.column_types import ColumnType

_LENGTHS = pa.array([str(length) for length in range(1024)])
_CUT_AS_BYTES = 1 << 24
"""Up to this size the content is copied to `bytes`: cutting texts from `bytes` takes two thirds of the time."""
_PLAIN_SCALE = 6
"""Above this scale Arrow writes small decimals with an exponent."""


def altered_rows(batch: pa.RecordBatch, kinds: Sequence[ColumnType], of: FingerprintOf) -> int:
    """Counts the rows of a batch that are not rejected and whose columns, of these kinds, differ from what the server
    hashed.

    A row without a fingerprint counts as different.
    """
    rejected = batch.column(REJECTED_COLUMN)
    if rejected.null_count < len(batch):
        batch = batch.filter(rejected.is_null())
    if not len(batch):
        return 0
    parts = [_canonical(batch.column(place), kind) for place, kind in enumerate(kinds)]
    source_fingerprints = batch.column(FINGERPRINT_COLUMN)
    if of == "columns":
        column_checksums = [pa.array(_checksums(part)).cast(pa.string()) for part in parts]
        return len(source_fingerprints) - _same(
            pc.binary_join_element_wise(*column_checksums, ","), source_fingerprints
        )
    return len(source_fingerprints) - _same(
        pa.array(_checksums([text for part in parts for text in part])), source_fingerprints
    )


def _same(own: pa.Array, source: pa.Array) -> int:
    return int(pc.sum(pc.equal(own, source).fill_null(False)).as_py() or 0)


def _checksums(texts: Sequence[pa.Array]) -> npt.NDArray[np.int64]:
    """Returns the CRC-32 of each row's texts, joined by `|`."""
    joined = pc.binary_join_element_wise(*texts, "|") if len(texts) > 1 else texts[0]
    return _crc32_by_value(joined)


def _crc32_by_value(values: pa.Array) -> npt.NDArray[np.int64]:
    """Returns the CRC-32 of the bytes of each text or value; for NULL that of no bytes."""
    edges = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1].tolist()
    content: bytes | memoryview = memoryview(values.buffers()[2] or b"")
    if len(content) <= _CUT_AS_BYTES:
        content = bytes(content)
    return np.array([crc32(content[start:end]) for start, end in pairwise(edges)], np.int64)


def _canonical(values: pa.Array, kind: ColumnType) -> list[pa.Array]:
    """Returns the texts of a column that `fingerprints` describes, without any NULL: a join that has to look for NULLs
    takes three times as long."""
    match kind.proof:
        case "plain" if kind.spark_type.startswith("decimal"):
            return [_filled(_decimal_texts(values))]
        case "plain":
            return [_filled(values.cast(pa.string()))]
        case "wall clock":
            return [_filled(_wall_clock_texts(values, kind.fraction))]
        case "text":
            return [_filled(_lengths(values)), _filled(values, "")]
        case "long text" | "bytes":
            checksums = pa.array(_crc32_by_value(values)).cast(pa.string())
            return [pc.if_else(values.is_valid(), checksums, NULL) if values.null_count else checksums]
        case "double":
            return [_filled(_double_texts(values))]


def _filled(texts: pa.Array, missing: str = NULL) -> pa.Array:
    return texts.fill_null(missing) if texts.null_count else texts


def _lengths(values: pa.Array) -> pa.Array:
    """Returns how many characters each text has, as text."""
    lengths = pc.utf8_length(values)
    if (pc.max(lengths).as_py() or 0) < len(_LENGTHS):
        return pc.take(_LENGTHS, lengths, boundscheck=False)
    return lengths.cast(pa.string())


def _decimal_texts(values: pa.Array) -> pa.Array:
    scale = values.type.scale
    if scale <= _PLAIN_SCALE:
        return values.cast(pa.string())
    # Write them as whole numbers and insert the point afterwards.
    whole = pa.Array.from_buffers(pa.decimal128(38, 0), len(values), values.buffers(), offset=values.offset).cast(
        pa.string()
    )
    negative = pc.starts_with(whole, "-")
    digits = pc.utf8_lpad(pc.utf8_ltrim(whole, "-"), scale + 1, "0")
    with_point = pc.utf8_replace_slice(digits, -scale, -scale, ".")
    return pc.if_else(negative, pc.binary_join_element_wise("-", with_point, ""), with_point)


def _wall_clock_texts(values: pa.Array, fraction: int) -> pa.Array:
    texts = values.view(pa.timestamp("us")).cast(pa.string())
    cut = 10 ** (6 - fraction)
    micros = values.view(pa.int64()).fill_null(0).to_numpy()
    if fraction == 6 or (cut > 1 and bool((micros % cut).any())):
        # Keep digits beyond the column's own, so that they show.
        return texts
    return pc.utf8_slice_codeunits(texts, 0, 20 + fraction if fraction else 19)


def _double_texts(values: pa.Array) -> pa.Array:
    there = values.cast(pa.float64())
    double = there.fill_null(0.0).to_numpy()
    if len(double) and float(np.abs(double).max()) < SHIFT:
        # Most numbers are small: their remainders can be computed this way in a tenth of the time.
        scaled = double * float(SHIFT)
        windows = [scaled, double / float(SHIFT), (scaled - np.trunc(scaled)) * float(SPAN)]
    else:
        windows = [
            np.fmod(double, float(SHIFT)) * float(SHIFT),
            np.fmod(double / float(SHIFT), float(SPAN)),
            np.fmod(double, DOWN_26) * UP_78,
        ]
    whole = [pa.array(np.floor(window).astype(np.int64)).cast(pa.string()) for window in windows]
    joined = pc.binary_join_element_wise(*whole, ",")
    return pc.if_else(there.is_valid(), joined, pa.scalar(None, pa.string())) if there.null_count else joined
