"""Decodes a block of rows to an Arrow batch: each column exactly, in its lake type, and a record of undecodable rows.

Whole columns are cast at once, strictly. No date type holds a date with a zero month or day, of the year 0, or of a day
that its month does not have (`ALLOW_INVALID_DATES`). NULL would be wrong, so the row of such a date is rejected, unless
zeros are to be NULL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, Column, FingerprintOf
from connectors.errors import ServiceError
from connectors.mysql.schema.column_types import ColumnType, ZeroDates, column_type
from connectors.mysql.wire.binary_fields import UNASKED, Field, Flags, Moments, Numbers, Texts, bitmap, fields_of
from connectors.mysql.wire.packets import Block, ProtocolError, WireColumn
from connectors.mysql.wire.undecodable_rows import REJECTED_ARROW_TYPE, rejections

_ARROW_TYPES = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp_ntz": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
}
_FINGERPRINT_TYPES = {"row": pa.int64(), "columns": pa.string()}
_FIRST_YEAR, _YEARS = 1, 10_000
"""BigQuery's types begin with the year 1, as Spark's do; MySQL also stores the year 0."""
_MONTHS = 16
"""Places per year for months: those that a year does not have are without days."""


def _calendar_tables() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Returns, by year and month, the days from 1970-01-01 to the first of the month, and how many days it has."""
    years, months = np.arange(_YEARS)[:, np.newaxis], np.arange(1, 13)[np.newaxis, :]
    ordinal = (years - 1970) * 12 + months - 1
    first_of = ordinal.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    first_of_next = (ordinal + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    first, days = np.zeros((_YEARS, _MONTHS), np.int32), np.zeros((_YEARS, _MONTHS), np.uint8)
    first[_FIRST_YEAR:, 1:13] = first_of[_FIRST_YEAR:]
    days[_FIRST_YEAR:, 1:13] = (first_of_next - first_of)[_FIRST_YEAR:]
    return first.ravel(), days.ravel()


_FIRST_OF_MONTH, _DAYS_OF_MONTH = _calendar_tables()


def arrow_type(spark_type: str) -> pa.DataType:
    """Returns the Arrow type of one of the ledger's Spark types."""
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", spark_type)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _ARROW_TYPES[spark_type]


class RowDecoder:
    """Decodes blocks to batches. The rows of a block hold the columns in order, then two kinds of further values.

    The first are flags, one for each column with a checked character set: whether its text was altered on the way
    (`character_sets`). The second is the server's `fingerprint`, if there is one.

    A reason shows no value of a masked column. A row with NULL or a zero date in the `required` column is rejected.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        zero_dates: ZeroDates = "quarantine",
        *,
        fingerprint: FingerprintOf = "nothing",
        masked_columns: Collection[str] = (),
        required: str | None = None,
    ) -> None:
        self._columns = columns
        self._kinds = [column_type(column.source_type, zero_dates) for column in columns]
        self._checked = [place for place, kind in enumerate(self._kinds) if kind.character_set]
        self._proved = fingerprint != "nothing"
        self._masked_columns = masked_columns
        self._required = None if required is None else [column.name for column in columns].index(required)
        fields = [pa.field(column.name, arrow_type(column.spark_type)) for column in columns]
        fields.append(pa.field(REJECTED_COLUMN, REJECTED_ARROW_TYPE))
        if self._proved:
            fields.append(pa.field(FINGERPRINT_COLUMN, _FINGERPRINT_TYPES[fingerprint]))
        self.schema = pa.schema(fields)

    @property
    def width(self) -> int:
        """The number of values of a row on the wire."""
        return len(self._columns) + len(self._checked) + self._proved

    def batch(self, block: Block, sent: Sequence[WireColumn]) -> pa.RecordBatch:
        """Returns the rows of a block as a batch that does not refer to the block's memory.

        Args:
            sent: how the server sends the columns.

        Raises:
            ProtocolError: a row does not have the columns.
            ServiceError: a value does not have the type planned for its column.
        """
        fields = self._fields(block, sent)
        arrays: list[pa.Array] = []
        broken: dict[int, Flags] = {}
        for place, (column, kind, field) in enumerate(zip(self._columns, self._kinds, fields, strict=False)):
            try:
                values, bad = _decode(field, kind)
            except pa.ArrowException:
                # Arrow's own message contains the value.
                raise _unplanned(column) from None
            arrays.append(values)
            if bad is not None:
                broken[place] = bad
        altered = self._altered(fields)
        missing = None if self._required is None else _without_time(fields[self._required], self._kinds[self._required])
        arrays.append(
            rejections(
                self._columns, self._kinds, fields, broken, altered, missing, self._required, self._masked_columns
            )
            if broken or altered or missing is not None
            else pa.nulls(len(block.starts), REJECTED_ARROW_TYPE)
        )
        if self._proved:
            arrays.append(_plain(fields[-1]).cast(self.schema.field(FINGERPRINT_COLUMN).type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _altered(self, fields: Sequence[Field]) -> dict[int, Flags]:
        """Returns {place of a column: which of its texts were altered}, for columns with altered texts."""
        altered: dict[int, Flags] = {}
        for place, field in zip(self._checked, fields[len(self._columns) :], strict=False):
            if not isinstance(field, Numbers):
                raise ProtocolError("the server sends no number where it was asked whether a text is altered")
            flags: Flags = field.values != 0
            if flags.any():
                altered[place] = flags
        return altered

    def _fields(self, block: Block, sent: Sequence[WireColumn]) -> list[Field]:
        if len(sent) != self.width:
            raise ProtocolError(f"the server sends {len(sent)} columns where {self.width} were asked for")
        for column, how in zip(self._columns, sent, strict=False):
            if how.type_code in UNASKED:
                raise _unplanned(column)
        return list(fields_of(block, sent))


def _unplanned(column: Column) -> ServiceError:
    return ServiceError(
        f"column {column.name!r} has a value that is not of its planned type {column.spark_type}",
        fix="Plan again",
    )


def _decode(field: Field, kind: ColumnType) -> tuple[pa.Array, Flags | None]:
    """Decodes a column. Returns its values and a mask of those that could not be decoded (None if all could); these are
    NULL.

    Raises:
        pa.ArrowException: a value has another type.
    """
    wanted = arrow_type(kind.spark_type)
    match kind.spark_type:
        case "date" | "timestamp_ntz" | "timestamp":
            if not isinstance(field, Moments):
                raise pa.ArrowInvalid
            return _calendar(field, wanted, kind.zero_is_null)
        case "binary":
            return _plain(field).cast(wanted), None
        case "string":
            values = _plain(field)
            try:
                return values.cast(wanted), None
            except pa.ArrowInvalid:
                return _broken_text(values)
        case "float":
            return _number(field).cast(wanted, safe=False), None
        case _:
            return _number(field).cast(wanted), None


def _without_time(field: Field, kind: ColumnType) -> Flags | None:
    """Returns a mask of the values of a cursor that no window holds; None if windows hold all."""
    zero: Flags | None = None
    if isinstance(field, Moments):
        zero = field.parts["year"] == 0
        if field.nulls is not None:
            # The parts in place of a NULL have no meaning, and NULL is not a time either.
            zero |= field.nulls
    elif isinstance(field, Texts) and kind.text_by_cast:
        texts = pc.starts_with(field.to_arrow(), pattern="0000-")
        zero = np.asarray(pc.fill_null(texts, True).to_numpy(zero_copy_only=False))
    return field.nulls if zero is None else zero if zero.any() else None


def _plain(field: Field) -> pa.Array:
    if isinstance(field, Moments):
        raise pa.ArrowInvalid
    return field.to_arrow()


def _number(field: Field) -> pa.Array:
    """Returns numbers, or their text."""
    values = _plain(field)
    return values.view(pa.string()) if isinstance(field, Texts) else values


def _calendar(moments: Moments, wanted: pa.DataType, zero_is_null: bool) -> tuple[pa.Array, Flags | None]:
    parts, nulls = moments.parts, moments.nulls
    month, day = parts["month"], parts["day"]
    places = parts["year"].astype(np.int64) * _MONTHS + np.minimum(month, _MONTHS - 1)
    if len(places) and int(places.max()) >= len(_FIRST_OF_MONTH):
        raise pa.ArrowInvalid
    days = _FIRST_OF_MONTH[places] + day - 1
    # A day of zero becomes 255 here, more than any month has.
    bad: Flags = day - np.uint8(1) >= _DAYS_OF_MONTH[places]
    if bad.any():
        if nulls is not None:
            bad &= ~nulls
        nulls = bad if nulls is None else nulls | bad
        if zero_is_null:
            bad = bad & (month != 0) & (day != 0)
    validity = bitmap(nulls)
    if pa.types.is_date(wanted):
        values = days.astype(np.int32)
    else:
        seconds = parts["hour"] * np.int32(3600) + parts["minute"] * np.int32(60) + parts["second"]
        values = (days * np.int64(86_400) + seconds) * 1_000_000 + parts["micros"]
    # The session's times are in UTC, so an instant is the same number.
    array = pa.Array.from_buffers(wanted, len(values), [validity, pa.py_buffer(values)])
    return array, bad if bad.any() else None


def _broken_text(values: pa.Array) -> tuple[pa.Array, Flags]:
    """Decodes text with invalid UTF-8, which a server accepts if checks are off (TiDB, `tidb_skip_utf8_check`)."""
    bad = np.array([value is not None and not _is_text(value) for value in values.to_pylist()])
    return pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), values).cast(pa.string()), bad


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
