"""Rows' fingerprints made of what was decoded, in Arrow: the canonical text of `fingerprints`, whole columns at a time.

The text is made of the values, never of the text they came as: it is the decoding that is proved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, FingerprintOf
from connectors.md5 import md5
from connectors.mysql.column_types import ColumnType
from connectors.mysql.fingerprints import DIGITS, DOWN_26, NULL, SHIFT, SPAN, UP_78

_LENGTHS = pa.array([f"{length}:" for length in range(1024)])
_PLAIN_SCALE = 6
"""Arrow writes decimals of a greater scale with an exponent where they are small."""


def altered_rows(batch: pa.RecordBatch, kinds: Sequence[ColumnType], of: FingerprintOf) -> int:
    """Rows of a batch that are not rejected and whose columns, of these kinds, are not what the server hashed.

    A row that has no fingerprint is one of them.
    """
    rejected = batch.column(REJECTED_COLUMN)
    if rejected.null_count < len(batch):
        batch = batch.filter(rejected.is_null())
    if not len(batch):
        return 0
    # Filled here, as a join that has to look for NULLs takes three times as long.
    parts = [_filled(_canonical(batch.column(place), kind)) for place, kind in enumerate(kinds)]
    made = batch.column(FINGERPRINT_COLUMN)
    if of == "columns":
        own = pc.binary_join_element_wise(*(_hex_texts(_digests(part)) for part in parts), ",")
        return _differing_texts(own, made)
    return _differing(_digests(pc.binary_join_element_wise(*parts, "|")), made)


def _filled(texts: pa.Array) -> pa.Array:
    return texts.fill_null(NULL) if texts.null_count else texts


def _digests(texts: pa.Array) -> bytes:
    """The MD5 of each text, 16 bytes each."""
    return b"".join([md5(text).digest() for text in texts.cast(pa.binary()).to_pylist()])


def _hex_texts(digests: bytes) -> pa.Array:
    """The digits of each hash that count."""
    text = digests.hex()
    return pa.array([text[start : start + DIGITS] for start in range(0, len(text), 2 * DIGITS)], pa.string())


def _differing(digests: bytes, made: pa.Array) -> int:
    """How many of the texts in `made` are not the digits of the hashes."""
    if made.null_count or not bool(pc.all(pc.equal(pc.binary_length(made), DIGITS)).as_py()):
        return _differing_texts(_hex_texts(digests), made)
    # Eight digits at a time: the first half of each hash is what counts.
    own = np.frombuffer(digests.hex().encode(), np.uint64).reshape(-1, 4)
    first = int(np.frombuffer(made.buffers()[1], np.int32)[made.offset])
    theirs = np.frombuffer(made.buffers()[2], np.uint64, 2 * len(made), first).reshape(-1, 2)
    return int(np.count_nonzero((own[:, 0] != theirs[:, 0]) | (own[:, 1] != theirs[:, 1])))


def _differing_texts(own: pa.Array, made: pa.Array) -> int:
    return len(made) - int(pc.sum(pc.equal(own, made).fill_null(False)).as_py() or 0)


def _canonical(values: pa.Array, kind: ColumnType) -> pa.Array:
    """The text of a column that `fingerprints` describes; NULL for NULL."""
    match kind.proof:
        case "plain" if kind.spark_type.startswith("decimal"):
            return _decimal_texts(values)
        case "plain":
            return values.cast(pa.string())
        case "wall clock":
            return _wall_clock_texts(values, kind.fraction)
        case "instant":
            return values.cast(pa.int64()).cast(pa.string())
        case "text":
            return _measured_texts(values)
        case "long text" | "bytes":
            return pa.array(
                [None if value is None else md5(value).hexdigest() for value in values.cast(pa.binary()).to_pylist()],
                pa.string(),
            )
        case "double":
            return _double_texts(values)


def _measured_texts(values: pa.Array) -> pa.Array:
    """Texts behind their length in bytes."""
    lengths = pc.binary_length(values)
    if (pc.max(lengths).as_py() or 0) < len(_LENGTHS):
        return pc.binary_join_element_wise(pc.take(_LENGTHS, lengths, boundscheck=False), values, "")
    return pc.binary_join_element_wise(lengths.cast(pa.string()), values, ":")


def _decimal_texts(values: pa.Array) -> pa.Array:
    scale = values.type.scale
    if scale <= _PLAIN_SCALE:
        return values.cast(pa.string())
    # As whole numbers, whose digits then get their point.
    whole = pa.Array.from_buffers(pa.decimal128(38, 0), len(values), values.buffers(), offset=values.offset).cast(
        pa.string()
    )
    negative = pc.starts_with(whole, "-")
    digits = pc.utf8_lpad(pc.utf8_ltrim(whole, "-"), scale + 1, "0")
    with_point = pc.utf8_replace_slice(digits, -scale, -scale, ".")
    return pc.if_else(negative, pc.binary_join_element_wise("-", with_point, ""), with_point)


def _wall_clock_texts(values: pa.Array, fraction: int) -> pa.Array:
    texts = values.cast(pa.string())
    cut = 10 ** (6 - fraction)
    micros = values.view(pa.int64()).fill_null(0).to_numpy()
    if fraction == 6 or (cut > 1 and bool((micros % cut).any())):
        # Digits beyond the column's own stay to be seen.
        return texts
    return pc.utf8_slice_codeunits(texts, 0, 20 + fraction if fraction else 19)


def _double_texts(values: pa.Array) -> pa.Array:
    there = values.cast(pa.float64())
    double = there.fill_null(0.0).to_numpy()
    if len(double) and float(np.abs(double).max()) < SHIFT:
        # The remainders of numbers that are small, as most are, at a tenth of the time.
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
