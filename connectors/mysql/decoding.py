"""A block of rows as an Arrow batch: each column in its lake type, exactly, and the rows that cannot be decoded told.

Whole columns are cast at once, strictly. Only where a cast fails, or a year lies before 1, is a column looked at more
closely: a date with a zero month or day, or a day its month does not have (`ALLOW_INVALID_DATES`), is a value no date
type holds, and NULL would be a lie, so its row is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import FINGERPRINT_COLUMN, REJECTED_COLUMN, Column
from connectors.errors import ServiceError
from connectors.mysql.column_types import ColumnType, ZeroDates, column_type
from connectors.mysql.rejections import REJECTED_ARROW_TYPE, rejections
from connectors.mysql.text_fields import Field, fields_of
from connectors.mysql.wire import Block

Flags = npt.NDArray[np.bool_]

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
_DAYS_BEFORE_1970 = 719_162
"""From 0001-01-01, the first day BigQuery's types have; MySQL stores the year 0, too."""
_FIRST = {"date": -_DAYS_BEFORE_1970, "timestamp_ntz": -_DAYS_BEFORE_1970 * 86_400_000_000}
_FIRST["timestamp"] = _FIRST["timestamp_ntz"]
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def arrow_type(spark_type: str) -> pa.DataType:
    """The Arrow type of one of the ledger's Spark types."""
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", spark_type)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _ARROW_TYPES[spark_type]


class RowDecoder:
    """Makes batches of blocks whose rows hold the columns in order, then the server's fingerprint where `proved`.

    A reason shows no value of a `hidden` column. A row without a value in the `required` column is rejected.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        zero_dates: ZeroDates = "quarantine",
        *,
        proved: bool = False,
        hidden: Collection[str] = (),
        required: str | None = None,
    ) -> None:
        self._columns = columns
        self._kinds = [column_type(column.source_type, zero_dates) for column in columns]
        self._proved = proved
        self._hidden = hidden
        self._required = None if required is None else [column.name for column in columns].index(required)
        fields = [pa.field(column.name, arrow_type(column.spark_type)) for column in columns]
        fields.append(pa.field(REJECTED_COLUMN, REJECTED_ARROW_TYPE))
        self.schema = pa.schema([*fields, *([pa.field(FINGERPRINT_COLUMN, pa.string())] if proved else [])])

    @property
    def width(self) -> int:
        """How many values a row on the wire has."""
        return len(self._columns) + self._proved

    def batch(self, block: Block) -> pa.RecordBatch:
        """The rows of a block, nothing of which is referred to afterwards.

        Raises:
            ProtocolError: a row does not have the columns.
            ServiceError: a value is none of its column's planned type.
        """
        fields = list(fields_of(block, self.width))
        arrays: list[pa.Array] = []
        broken: dict[int, Flags] = {}
        for place, (column, kind, field) in enumerate(zip(self._columns, self._kinds, fields, strict=False)):
            try:
                values, bad = _decode(field, kind)
            except pa.ArrowException:
                # Arrow's own words hold the value.
                raise ServiceError(
                    f"column {column.name!r} holds a value that is no {column.spark_type}, as it was planned to be",
                    fix="Plan again",
                ) from None
            arrays.append(values)
            if bad is not None:
                broken[place] = bad
        missing = None if self._required is None else fields[self._required].nulls
        arrays.append(
            rejections(self._columns, self._kinds, fields, broken, missing, self._required, self._hidden)
            if broken or missing is not None
            else pa.nulls(len(block.starts), REJECTED_ARROW_TYPE)
        )
        if self._proved:
            arrays.append(fields[-1].to_arrow().cast(pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _decode(field: Field, kind: ColumnType) -> tuple[pa.Array, Flags | None]:
    """A column's values, and which are none where some are none; these are NULL."""
    values = field.to_arrow()
    match kind.spark_type:
        case "binary":
            return values, None
        case "string":
            try:
                return values.cast(pa.string()), None
            except pa.ArrowInvalid:
                return _broken_text(values)
        case "date" | "timestamp_ntz" | "timestamp":
            return _calendar(values.view(pa.string()), kind.spark_type)
        case "float":
            return values.view(pa.string()).cast(pa.float64()).cast(pa.float32()), None
        case _:
            return values.view(pa.string()).cast(arrow_type(kind.spark_type)), None


def _calendar(texts: pa.Array, spark_type: str) -> tuple[pa.Array, Flags | None]:
    bad: Flags | None = None
    try:
        values = _dates(texts, spark_type)
        earliest = pc.min(values.view(pa.int32() if spark_type == "date" else pa.int64())).as_py()
        if earliest is not None and earliest < _FIRST[spark_type]:
            raise pa.ArrowInvalid
    except pa.ArrowInvalid:
        bad = _no_dates(texts)
        values = _dates(pc.if_else(pa.array(bad), pa.scalar(None, pa.string()), texts), spark_type)
    # Times of the session are UTC, so an instant is the same number.
    return (values.view(arrow_type("timestamp")) if spark_type == "timestamp" else values), bad


def _dates(texts: pa.Array, spark_type: str) -> pa.Array:
    return texts.cast(pa.date32() if spark_type == "date" else pa.timestamp("us"))


def _no_dates(texts: pa.Array) -> Flags:
    """Which texts, `YYYY-MM-DD` and a time, are no day of the calendar from the year 1 on."""
    there = texts.fill_null("1970-01-01")
    year, month, day = (
        pc.utf8_slice_codeunits(there, start, stop).cast(pa.int32()).to_numpy()
        for start, stop in ((0, 4), (5, 7), (8, 10))
    )
    leap = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_year = (month >= 1) & (month <= 12)
    last = _MONTH_DAYS[np.where(in_year, month, 0)] + leap
    bad: Flags = ~((year >= 1) & in_year & (day >= 1) & (day <= last))
    return bad


def _broken_text(values: pa.Array) -> tuple[pa.Array, Flags]:
    """Text that is no UTF-8, which a server lets in where checks are off (TiDB, `tidb_skip_utf8_check`)."""
    bad = np.array([value is not None and not _is_text(value) for value in values.to_pylist()])
    return pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), values).cast(pa.string()), bad


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
